package segment

// victim is written in kill_test.go.
func victim(string) {}
