package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weir-stream/weir/internal/secret"
)

func TestASecretIsNotShown(t *testing.T) {
	const hush = "hunter2"
	type holder struct {
		Password secret.Text `yaml:"password" json:"password"`
	}
	v := holder{hush}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "password", v.Password, "all", v)
	inYAML, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	inJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{
		"%v": fmt.Sprintf("%v", v), "%+v": fmt.Sprintf("%+v", v), "%#v": fmt.Sprintf("%#v", v), "%s": v.Password.String(),
		"%q": fmt.Sprintf("%q", v.Password), "log": log.String(), "YAML": string(inYAML), "JSON": string(inJSON),
	} {
		if strings.Contains(text, hush) || !strings.Contains(text, secret.Redacted) {
			t.Errorf("%s: %s", how, text)
		}
	}
}

func TestASecretIsRead(t *testing.T) {
	var v struct {
		Password secret.Text `yaml:"password"`
	}
	if err := yaml.Unmarshal([]byte("password: hunter2"), &v); err != nil || string(v.Password) != "hunter2" {
		t.Errorf("read %q, %v", string(v.Password), err)
	}
	if secret.Text("").String() != "" {
		t.Error("no secret looks like one")
	}
}
