// Package config reads the configuration: defaults, over them the file, over that the environment,
// over that the command line.
//
// The settings themselves belong to the packages that they are for: each has a Config with its
// defaults and its own Validate. This package only puts those structs into one tree by area, fills
// the tree, and says where what was written went wrong: with line, key, and the nearest key that
// exists.
package config
