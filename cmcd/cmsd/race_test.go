//go:build race

package cmsd

// raceDetector takes memory that is not that of the code.
const raceDetector = true
