//go:build !race

package cmcd

const raceDetector = false
