//go:build race

package validate

// raceDetector takes memory and time that are not those of the code.
const raceDetector = true
