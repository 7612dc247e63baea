package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// DefaultFile is read if it exists and no other file is named.
const DefaultFile = "weir.yaml"

// Sources are where settings come from.
type Sources struct {
	// File is the file to read, which must exist; "" means [DefaultFile], which need not.
	File string
	// Environ is the environment as os.Environ gives it; variables that begin with WEIR_ count.
	Environ []string
	// Set are settings from the command line, by key ("live.rtmp.address").
	Set map[string]string
	// Change are what the command line says that is not one key's value.
	Change []func(*Config)
}

// EnvironmentPrefix begins the name of every variable that is a setting.
const EnvironmentPrefix = "WEIR_"

// Load returns the configuration that the sources make together. The error names every mistake that
// was found, each with its place.
func Load(s Sources) (Config, error) {
	c := Default()
	if err := loadFile(&c, s.File); err != nil {
		return Config{}, err
	}
	if err := loadEnvironment(&c, s.Environ); err != nil {
		return Config{}, err
	}
	leaves := leavesOf(&c)
	for _, key := range sortedKeys(s.Set) {
		if err := set(leaves, key, s.Set[key]); err != nil {
			return Config{}, fmt.Errorf("command line: %w", err)
		}
	}
	for _, change := range s.Change {
		change(&c)
	}
	if err := validate(reflect.ValueOf(&c).Elem(), ""); err != nil {
		return Config{}, err
	}
	return c, nil
}

func loadFile(c *Config, file string) error {
	name := file
	if name == "" {
		name = DefaultFile
	}
	content, err := os.ReadFile(name)
	if err != nil {
		if file == "" && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("configuration: %w", err)
	}
	return parse(c, name, content)
}

// parse lays the YAML document in content over c; name is for the errors.
func parse(c *Config, name string, content []byte) error {
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(document.Content) == 0 {
		return nil // an empty file, or comments only
	}
	if unknown := unknownKeys(document.Content[0], reflect.TypeFor[Config](), ""); len(unknown) > 0 {
		for i := range unknown {
			unknown[i] = fmt.Errorf("%s:%w", name, unknown[i])
		}
		return errors.Join(unknown...)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(c); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// unknownKeys returns an error for each key of node, and of what is in it, that the type has no field for. The
// prefix is the key of node with a dot.
func unknownKeys(node *yaml.Node, typ reflect.Type, prefix string) []error {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	var errs []error
	if typ.Kind() == reflect.Slice && node.Kind == yaml.SequenceNode {
		for i, item := range node.Content {
			errs = append(errs, unknownKeys(item, typ.Elem(), fmt.Sprintf("%s[%d].", strings.TrimSuffix(prefix, "."), i))...)
		}
		return errs
	}
	if typ.Kind() != reflect.Struct || node.Kind != yaml.MappingNode {
		return nil // a wrong kind of value is the decoder's to report
	}
	fields := fieldsOf(typ)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		field, ok := fields[key.Value]
		if !ok {
			errs = append(errs, fmt.Errorf("%d: unknown key %q%s", key.Line, prefix+key.Value, suggestion(key.Value, prefix, sortedKeys(fields))))
			continue
		}
		errs = append(errs, unknownKeys(value, field.Type, prefix+key.Value+".")...)
	}
	return errs
}

func fieldsOf(typ reflect.Type) map[string]reflect.StructField {
	fields := make(map[string]reflect.StructField)
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for name, inner := range fieldsOf(field.Type) {
				inner.Index = append(slices.Clone(field.Index), inner.Index...)
				fields[name] = inner
			}
		case name != "" && name != "-":
			fields[name] = field
		}
	}
	return fields
}

// suggestion returns the nearest of the known keys in words, or all of them if none is near.
func suggestion(key, prefix string, known []string) string {
	best, distance := "", len(key)/2+2
	for _, candidate := range known {
		if d := levenshtein.ComputeDistance(key, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", prefix+best)
	}
	if len(known) > 12 {
		return ""
	}
	return "; known here are " + strings.Join(known, ", ")
}

// leavesOf returns every setting of c by its key.
func leavesOf(c *Config) map[string]reflect.Value {
	leaves := make(map[string]reflect.Value)
	var walk func(v reflect.Value, prefix string)
	walk = func(v reflect.Value, prefix string) {
		for name, field := range fieldsOf(v.Type()) {
			value := v.FieldByIndex(field.Index)
			if value.Kind() == reflect.Struct {
				walk(value, prefix+name+".")
				continue
			}
			leaves[prefix+name] = value
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
	return leaves
}

// VariableOf returns the name of the environment variable for a key.
func VariableOf(key string) string {
	return EnvironmentPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func loadEnvironment(c *Config, environ []string) error {
	leaves := leavesOf(c)
	variables := make(map[string]string, len(leaves))
	for key := range leaves {
		variables[VariableOf(key)] = key
	}
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, EnvironmentPrefix) {
			continue
		}
		key, ok := variables[name]
		if !ok {
			return fmt.Errorf("environment: unknown variable %s%s", name, suggestion(name, "", sortedKeys(variables)))
		}
		if err := set(leaves, key, value); err != nil {
			return fmt.Errorf("environment: %s: %w", name, err)
		}
	}
	return nil
}

// set gives the setting the value that text stands for in YAML.
func set(leaves map[string]reflect.Value, key, text string) error {
	leaf, ok := leaves[key]
	if !ok {
		return fmt.Errorf("unknown key %q%s", key, suggestion(key, "", sortedKeys(leaves)))
	}
	if leaf.Kind() == reflect.String {
		leaf.SetString(text) // as it is: an address such as ":8080" need not be quoted
		return nil
	}
	value := reflect.New(leaf.Type())
	var document yaml.Node
	err := yaml.Unmarshal([]byte(text), &document)
	if err == nil {
		err = document.Decode(value.Interface())
	}
	// Nothing, which YAML takes for null, would leave the zero value.
	if err != nil || len(document.Content) == 0 || document.Content[0].Tag == "!!null" {
		return fmt.Errorf("%s: %q is not a %s", key, text, kindInWords(leaf.Type()))
	}
	leaf.Set(value.Elem())
	return nil
}

func kindInWords(typ reflect.Type) string {
	switch {
	case typ.String() == "time.Duration":
		return "duration such as 10s or 1m30s"
	case typ.Kind() == reflect.Bool:
		return "boolean (true or false)"
	case typ.Kind() == reflect.Slice:
		return "list such as [a, b]"
	case typ.Kind() >= reflect.Int && typ.Kind() <= reflect.Float64:
		return "number"
	}
	return typ.String()
}

// validate asks every struct of the tree that can check itself, and puts the key before its words.
func validate(v reflect.Value, prefix string) error {
	var errs []error
	if checker, ok := v.Interface().(interface{ Validate() error }); ok {
		if err := checker.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("configuration: %s%w", prefix, err))
		}
	}
	fields := fieldsOf(v.Type())
	for _, name := range sortedKeys(fields) {
		if value := v.FieldByIndex(fields[name].Index); value.Kind() == reflect.Struct {
			if err := validate(value, prefix+name+"."); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
