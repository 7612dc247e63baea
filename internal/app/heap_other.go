//go:build !linux

package app

func giveBack([]byte) {}
