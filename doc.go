// Package weir holds no code: its tests keep the tree honest. layers_test.go executes the law of
// imports, tree_test.go the rules on names, sizes, package comments, links and dependencies.
//
// The program is cmd/weir; the one package for others to import is cmcd.
package weir
