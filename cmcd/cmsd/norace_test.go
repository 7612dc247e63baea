//go:build !race

package cmsd

const raceDetector = false
