package access

import (
	"go.yaml.in/yaml/v3"

	"github.com/weir-stream/weir/internal/cdn/access/strict"
)

// A rule that is misread lets in whom it should not. So its YAML is read strictly: a key that is not known,
// or a part without a value, is an error, and not nothing. What is not said has the part's defaults.

// UnmarshalYAML reads a rule.
func (r *RuleConfig) UnmarshalYAML(node *yaml.Node) error {
	type plain RuleConfig
	*r = RuleConfig{}
	return strict.Decode(node, (*plain)(r))
}

// UnmarshalYAML reads what is said over the defaults.
func (c *TokenConfig) UnmarshalYAML(node *yaml.Node) error {
	type plain TokenConfig
	*c = defaultToken()
	return strict.Decode(node, (*plain)(c))
}

// UnmarshalYAML reads what is said over the defaults.
func (c *CATConfig) UnmarshalYAML(node *yaml.Node) error {
	type plain CATConfig
	*c = defaultCAT()
	return strict.Decode(node, (*plain)(c))
}

// UnmarshalYAML reads what is said over the defaults.
func (c *JWTConfig) UnmarshalYAML(node *yaml.Node) error {
	type plain JWTConfig
	*c = defaultJWT()
	return strict.Decode(node, (*plain)(c))
}

// UnmarshalYAML reads what is said over the defaults.
func (g *GeoConfig) UnmarshalYAML(node *yaml.Node) error {
	type plain GeoConfig
	*g = defaultGeo()
	return strict.Decode(node, (*plain)(g))
}

// UnmarshalYAML reads what is said over the defaults.
func (r *RateConfig) UnmarshalYAML(node *yaml.Node) error {
	type plain RateConfig
	*r = defaultRate()
	return strict.Decode(node, (*plain)(r))
}

// UnmarshalYAML reads what is said over the defaults.
func (c *RuleChallengeConfig) UnmarshalYAML(node *yaml.Node) error {
	type plain RuleChallengeConfig
	*c = defaultRuleChallenge()
	return strict.Decode(node, (*plain)(c))
}
