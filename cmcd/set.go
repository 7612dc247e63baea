package cmcd

import "slices"

// mark notes that key k has got a good value.
func (p *parser) mark(k Key) {
	if p.v.Has(k) {
		p.warn(WarnDuplicate)
	}
	p.scalars &^= 1 << k
	p.lists &^= 1 << k
}

// set gives key k the value v if it is one for that key.
func (p *parser) set(k Key, v value) {
	if !p.fit(k, &v) {
		p.warn(WarnBadValue)
		return
	}
	p.mark(k)
	switch k.Type() {
	case BoolType:
		p.v.SetBool(k, v.flag)
	case NumberType:
		p.v.SetNumber(k, v.Number)
	case TextType, TokenType:
		p.v.SetText(k, v.Text)
	default:
		p.scalars |= 1 << k
		p.v.setSingle(k, v.Number, v.Text)
	}
}

// fit makes v a value for key k, and reports whether it is one.
func (p *parser) fit(k Key, v *value) bool {
	switch k.Type() {
	case BoolType:
		return p.fitBool(v)
	case NumberType, NumberListType:
		if v.Range != "" {
			p.warn(WarnParameter)
			v.Range = ""
		}
		return p.fitNumber(k, v)
	case TokenType:
		if v.kind == quoted && isToken(v.Text) {
			p.warn(WarnQuoted)
			v.kind = word
		}
		if v.kind != word {
			return false
		}
		if !knownToken(k, v.Text) {
			p.warn(WarnUnknownToken)
		}
		return true
	default:
		if v.kind == boolean && v.Text == "" || v.kind == other && v.Text == "" {
			return false // a bare key, or nothing behind the equals sign
		}
		if v.kind != quoted {
			p.warn(WarnUnquoted)
		}
		if v.Type != "" || v.Range != "" && k != KeyNOR {
			p.warn(WarnParameter)
			v.Type = ""
		}
		if k != KeyNOR {
			v.Range = ""
		}
		v.Number = 0
		return true
	}
}

func (p *parser) fitBool(v *value) bool {
	switch {
	case v.kind == boolean:
		return true
	case v.kind == other:
		return false
	case v.Text == "true" || v.Text == "1":
		v.flag = true
	case v.Text == "false" || v.Text == "0":
		v.flag = false
	default:
		return false
	}
	p.warn(WarnBoolean)
	return true
}

func (p *parser) fitNumber(k Key, v *value) bool {
	if v.kind == quoted && v.Text != "" {
		n, decimal, ok := p.number(v.Text)
		if !ok {
			return false
		}
		p.warn(WarnQuoted)
		v.Number, v.decimal, v.kind = n, decimal, number
	}
	if v.kind != number {
		return false
	}
	v.Text = ""
	if v.decimal && k != KeyPR {
		p.warn(WarnDecimal)
	}
	switch k {
	case KeyLTC, KeyPR, KeyPT: // clocks differ, playback may run backwards
		return true
	case KeyV:
		return v.Number >= 1 && v.Number == float64(int(v.Number))
	default:
		return v.Number >= 0
	}
}

// knownToken reports whether the specification defines the token for key k.
func knownToken(k Key, token string) bool { return slices.Contains(k.tokens(), token) }
