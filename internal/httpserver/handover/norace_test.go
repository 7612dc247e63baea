//go:build !race

package handover_test

const raceDetector = false
