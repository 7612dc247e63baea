//go:build race

package cmcd

// raceDetector takes memory and time that are not those of the code.
const raceDetector = true
