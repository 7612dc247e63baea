package keyfile

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// SecretRef says where a shared secret is. The secret itself is never in a configuration.
type SecretRef struct {
	// File is a file that has it; Env an environment variable that has it.
	File string `yaml:"file,omitempty"`
	Env  string `yaml:"env,omitempty"`
	// Encoding is how it is written: text (default; the line feed at its end does not count), hex or base64.
	Encoding string `yaml:"encoding,omitempty"`
}

// UnmarshalYAML reads a reference. If there is a secret in its place, the error does not show it.
func (s *SecretRef) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return fmt.Errorf("line %d: a secret does not stand in the configuration; {file: PATH} or {env: NAME} is expected", node.Line)
	}
	*s = SecretRef{}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: {file: PATH} or {env: NAME} is expected", node.Line)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if key := node.Content[i]; key.Value != "file" && key.Value != "env" && key.Value != "encoding" {
			return fmt.Errorf("line %d: unknown key %q; known here are file, env, encoding", key.Line, key.Value)
		}
	}
	type plain SecretRef
	return node.Decode((*plain)(s))
}

// IsZero reports whether there is no reference.
func (s SecretRef) IsZero() bool { return s.File == "" && s.Env == "" }

// Validate reports the first value that cannot be.
func (s SecretRef) Validate() error {
	switch s.Encoding {
	case "", "text", "hex", "base64":
	default:
		return fmt.Errorf("encoding: %q is not text, hex or base64", s.Encoding)
	}
	switch {
	case s.File != "" && s.Env != "":
		return fmt.Errorf("file: %q is there, and env as well; one of them is expected", s.File)
	case strings.HasPrefix(s.Env, "WEIR_"):
		return fmt.Errorf("env: %q is read as a setting; a name that does not begin with WEIR_ is expected", s.Env)
	}
	return nil
}

// Read returns the secret; env looks variables up, as os.LookupEnv does.
func (s SecretRef) Read(env func(name string) (string, bool)) ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	var text string
	switch {
	case s.File != "":
		content, err := os.ReadFile(s.File)
		if err != nil {
			return nil, fmt.Errorf("read the secret: %w", err)
		}
		text = strings.TrimRight(string(content), "\r\n")
	case s.Env != "":
		var ok bool
		if text, ok = env(s.Env); !ok {
			return nil, fmt.Errorf("the environment variable %s is not set", s.Env)
		}
	default:
		return nil, errors.New("there is no secret; file or env is expected")
	}
	switch s.Encoding {
	case "hex":
		b, err := hex.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%s is not hexadecimal", s.where())
		}
		return b, nil
	case "base64":
		text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		b, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%s is not base64", s.where())
		}
		return b, nil
	}
	return []byte(text), nil
}

func (s SecretRef) where() string {
	if s.File != "" {
		return s.File
	}
	return "the environment variable " + s.Env
}
