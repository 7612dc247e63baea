// Package strict decodes YAML that must not be misread: a key that is not known, and a key without a value,
// are errors.
package strict

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode decodes node, a mapping, into the struct that out points to.
func Decode(node *yaml.Node, out any) error {
	if err := known(node, reflect.TypeOf(out).Elem()); err != nil {
		return err
	}
	return node.Decode(out)
}

// known reports the first key of node that typ has no field for. Below a field that reads itself it does not
// look.
func known(node *yaml.Node, typ reflect.Type) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a mapping of keys to values is expected", node.Line)
	}
	var names []string
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
		names = append(names, name)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Tag == "!!merge" {
			return fmt.Errorf("line %d: mappings are not merged here; write the keys out", key.Line)
		}
		at := slices.Index(names, key.Value)
		if at < 0 {
			return fmt.Errorf("line %d: unknown key %q; known here are %s", key.Line, key.Value, strings.Join(names, ", "))
		}
		if value.Tag == "!!null" {
			return fmt.Errorf("line %d: %q has no value; without the key, or as {} or [], it has its default", key.Line, key.Value)
		}
		if err := knownBelow(value, typ.Field(at).Type); err != nil {
			return err
		}
	}
	return nil
}

func knownBelow(value *yaml.Node, typ reflect.Type) error {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if reflect.PointerTo(typ).Implements(reflect.TypeFor[yaml.Unmarshaler]()) {
		return nil
	}
	switch {
	case typ.Kind() == reflect.Struct:
		return known(value, typ)
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct && value.Kind == yaml.SequenceNode:
		for _, item := range value.Content {
			if err := knownBelow(item, typ.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}
