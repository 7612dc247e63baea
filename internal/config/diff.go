package config

import "reflect"

// Changed returns the keys of the settings in which two configurations differ, sorted.
func Changed(a, b Config) []string {
	before, after := leavesOf(&a), leavesOf(&b)
	var changed []string
	for _, key := range sortedKeys(before) {
		if !reflect.DeepEqual(before[key].Interface(), after[key].Interface()) {
			changed = append(changed, key)
		}
	}
	return changed
}
