// Package jsontext reads JSON that is known to be valid, in place: the JSON of CMCD version 1, for the
// decoder and for the validator. encoding/json would make a tree of it, which takes a multiple of the
// memory that a record may.
package jsontext

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Skip returns s without the white space at its beginning.
func Skip(s string) string { return strings.TrimLeft(s, " \t\r\n") }

// Next goes behind a value to the next one in the object or array around it, or to its end.
func Next(s string) string {
	if s = Skip(s); s[0] == ',' {
		s = Skip(s[1:])
	}
	return s
}

// End returns where the value at the beginning of s ends.
func End(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of the value around it
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(s)
}

// Append appends s, the inside of a string, to b with its escapes resolved. None is shorter than what it
// stands for, so that len(s) bytes are enough.
func Append(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		i++
		if s[i] != 'u' {
			if at := strings.IndexByte("bfnrt", s[i]); at >= 0 {
				b = append(b, "\b\f\n\r\t"[at])
			} else {
				b = append(b, s[i])
			}
			continue
		}
		r := unit(s[i+1:])
		i += 4
		if utf16.IsSurrogate(r) {
			low := utf8.RuneError
			if strings.HasPrefix(s[i+1:], `\u`) {
				low = unit(s[i+3:])
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 6
			}
		}
		b = utf8.AppendRune(b, r)
	}
	return b
}

// unit returns the value of the four hexadecimal digits at the beginning of s.
func unit(s string) rune {
	n, _ := strconv.ParseUint(s[:4], 16, 16) // they are digits
	return rune(n)
}
