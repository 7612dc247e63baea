package validate

// rule is one thing that the specification says.
type rule struct {
	word     string // stable; several rules can share one
	severity Severity
	v1, v2   string // where version 1 and version 2 say so; "" where they do not
	says     string
}

// The rules. Which of them apply to which key, and with which numbers, stands in keys.go and
// in the package rules.
const (
	ruleSyntax = iota
	ruleEmptyRecord
	ruleEmptyBody
	ruleNothing
	ruleEmptyList
	ruleEmptyText
	ruleUnknownKey
	ruleMode
	ruleType
	ruleBooleanTrue
	ruleBooleanFalse
	ruleToken
	ruleTokenUndefined
	ruleLength
	ruleRoundingMust
	ruleRoundingShould
	ruleRoundingInteger
	ruleRange
	ruleByteRange
	ruleBase64
	ruleRelative
	ruleRelativeSlash
	ruleNorEncoded
	ruleNotWith
	ruleObjectTypeMust
	ruleObjectTypeShould
	ruleListType
	ruleParameter
	ruleMissing
	rulePartner
	rulePartnerShould
	ruleEvent
	ruleSession
	ruleVersion
	ruleNeedless
	ruleHeader
	ruleHeaderCustom
	ruleNoHeader
	ruleOrder
	ruleDuplicate
	ruleDuplicateType
	ruleCustomName
	ruleCustomType
	ruleCustomLength
	ruleCustomShould
	ruleCustomJSON
	rulePrivacy
	ruleBoth
	ruleRepeated
	ruleArgument
	ruleEncoding
	ruleMediaType
	ruleMethod
	ruleLineFeed
	ruleCarriageReturn
	ruleTooMany
	ruleCount
)

const (
	table1V1 = "CTA-5004 §3.3 Table 1"
	table1   = "CTA-5004-B §4.3 Table 1"
)

// ruleTable is all that the validator knows, beside keys.go and the package rules. The words are written down in
// docs/cmcd.md.
var ruleTable = [ruleCount]rule{
	ruleSyntax: {
		"syntax", Error, "RFC 8941", "RFC 8941",
		"a record is a dictionary of RFC 8941; the issue has the section",
	},
	ruleEmptyRecord: {
		"empty", Error, "RFC 8941 §3.2", "RFC 8941 §3.2",
		"an empty dictionary is not written at all",
	},
	ruleEmptyBody: {
		"empty", Error, "CTA-5004-B §3.3", "CTA-5004-B §3.3",
		"a body has one record at least",
	},
	ruleNothing: {
		// Nothing forbids to send a request without CMCD; but who validates one expects some.
		"empty", Warning, "CTA-5004 §3.3", "CTA-5004-B §4.3",
		"a request has CMCD: sid should be on all requests of a session",
	},
	ruleEmptyList: {
		"empty", Error, "", "CTA-5004-B §3",
		"a key whose value is not known is not sent, rather than an empty list",
	},
	ruleEmptyText: {
		// An empty string could be what the provider has chosen, so this is less sure than the list.
		"empty", Warning, "", "CTA-5004-B §3",
		"a key whose value is not known is not sent, rather than an empty string",
	},
	ruleUnknownKey: {
		"unknown_key", Error, "CTA-5004 §3.2 item 4", "CTA-5004-B §4.1 item 5",
		"a key is in Table 1 of the version, or is a custom key with a hyphenated prefix",
	},
	ruleMode: {
		"mode", Error, "", table1,
		"a key is allowed in the mode: keys of event mode are not sent with requests",
	},
	ruleType: {
		"type", Error, table1V1, table1,
		"a value is of its key's type: integer, decimal, string, token, boolean, list",
	},
	ruleBooleanTrue: {
		"boolean", Error, "CTA-5004 §3.2 item 2", "CTA-5004-B §4.1 item 2",
		"true is written as the key alone",
	},
	ruleBooleanFalse: {
		"boolean", Error, table1V1, "", // version 2: §5 item 20 allows bs=?0, su=?0
		"bs and su are not sent in version 1 if they are false",
	},
	ruleToken: {
		"token", Error, table1V1, table1,
		"a token is one of those that the key has in the version",
	},
	ruleTokenUndefined: {
		// The list of tokens has w, the definitions do not: errata of the specification, and some
		// players send it.
		"token", Warning, "", table1,
		"sta=w is in the list of tokens but means nothing",
	},
	ruleLength: {
		"length", Error, table1V1, table1,
		"a string is no longer than its key allows in the version",
	},
	ruleRoundingMust: {
		"rounding", Error, table1V1, table1,
		"dl, mtp and rtp are rounded to the nearest 100, also inside lists",
	},
	ruleRoundingShould: {
		// Version 1 says MUST of bl; version 2 took that back.
		"rounding", Warning, table1V1, table1,
		"bl and tbl are rounded to the nearest 100, also inside lists",
	},
	ruleRoundingInteger: {
		// The type is Integer, but servers take what a division has left: the decoder of this repository does,
		// and the reference library asks for no more than rounding. In version 2 it is of the wrong type.
		"rounding", Warning, table1V1, "",
		"br and tb of version 1 are rounded to integers",
	},
	ruleRange: {
		"range", Error, table1V1, table1,
		"only ltc, pr and pt can be negative; rc is 0 or has three digits",
	},
	ruleByteRange: {
		"byte_range", Error, table1V1, table1,
		`a range, parameter r of nor or nrr, is a string: "0-99", "100-" or "-99"`,
	},
	ruleBase64: {
		"base64", Error, "", table1,
		"cmsdd, cmsds and smrt are Base64",
	},
	ruleRelative: {
		"relative", Error, table1V1, table1,
		"nor is a path relative to the request, not a URL",
	},
	ruleRelativeSlash: {
		// RFC 3986 §4.2 calls this an absolute path, but servers understand it.
		"relative", Warning, table1V1, table1,
		"nor does not begin with a slash",
	},
	ruleNorEncoded: {
		// In a query the whole record is encoded already; whether nor has to be encoded once more is
		// disputed (cta-wave issue 185).
		"encoding", Warning, table1V1, "",
		"nor is URL-encoded in version 1",
	},
	ruleNotWith: {
		"not_with", Error, "", table1,
		"ab is not sent with br, lab not with lb, tab not with tb",
	},
	ruleObjectTypeMust: {
		"object_type", Error, "", table1,
		"d and tpb are sent only for the object types that have them",
	},
	ruleObjectTypeShould: {
		"object_type", Warning, table1V1, table1,
		"dfa, br and, in version 1, bl are sent only for the object types that have them",
	},
	ruleListType: {
		"object_type", Error, "", "CTA-5004-B §4.1 item 14",
		"a parameter in a list of numbers is an object type without a value",
	},
	ruleParameter: {
		// Who does not know a parameter passes over it, so no more than a warning.
		"parameter", Warning, table1V1, table1,
		"a value has no parameter that the specification does not define",
	},
	ruleMissing: {
		"missing", Error, "", "CTA-5004-B §2.2",
		"a report has e, ts and v; any record of version 2 has v",
	},
	rulePartner: {
		// For bc and c the text has no MUST; but a change without the value that has changed says nothing,
		// and the reference library refuses it.
		"missing", Error, table1, table1,
		"an event has its partner: ce cen, e ec, ps sta, rr url; bc br, c cid",
	},
	rulePartnerShould: {
		// Where the rate is 1 again pr should not be sent, so that its absence can mean that.
		"missing", Warning, table1, table1,
		"an event says what has changed: h h, pr pr",
	},
	ruleEvent: {
		"event", Error, "", table1,
		"cen goes only with the event ce; cmsdd, cmsds, rc, smrt, ttfb, ttfbb and ttlb only with rr",
	},
	ruleSession: {
		"session", Warning, "CTA-5004 §3.3", "CTA-5004-B §4.3",
		"sid is on all requests of a session",
	},
	ruleVersion: {
		"version", Error, table1V1, table1,
		"v is 1 or 2; reports are of version 2, JSON of version 1",
	},
	ruleNeedless: {
		"needless", Warning, table1V1, table1,
		"v=1 is not sent, nor pr=1 but with the event pr",
	},
	ruleHeader: {
		"header", Error, table1V1, table1,
		"a key is in the header that the version gives it",
	},
	ruleHeaderCustom: {
		"header", Warning, "CTA-5004 §3.2 item 5", "CTA-5004-B §4.1 item 6",
		"a registered custom key is in the header of the registry",
	},
	ruleNoHeader: {
		"header", Error, "CTA-5004 §2.1", "CTA-5004-B §3.1",
		"there are four headers: CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status",
	},
	ruleOrder: {
		"order", Warning, "CTA-5004 §3.2 item 9", "CTA-5004-B §4.1 item 10",
		"keys are in alphabetical order",
	},
	ruleDuplicate: {
		"duplicate", Error, "RFC 8941 §3.2", "RFC 8941 §3.2",
		"a key comes once",
	},
	ruleDuplicateType: {
		"duplicate", Warning, "", "CTA-5004-B §4.1 item 14",
		"an object type comes once in a list (bsd: one for each starvation)",
	},
	ruleCustomName: {
		"custom", Error, "CTA-5004 §3.2 item 4", "CTA-5004-B §4.1 item 5",
		"a custom key is a key of RFC 8941 §3.1.2 with a hyphen inside",
	},
	ruleCustomType: {
		"custom", Error, "", "CTA-5004-B §4.1 item 5", // version 1 does not say
		"a custom key has a string or a token",
	},
	ruleCustomLength: {
		// Version 1 sets no limit, but servers do not tell the versions apart here.
		"length", Error, "CTA-5004-B §4.1 item 5", "CTA-5004-B §4.1 item 5",
		"the value of a custom key has no more than 64 characters",
	},
	ruleCustomShould: {
		"custom", Warning, "CTA-5004 §3.2 item 4", "CTA-5004-B §4.1 item 5",
		"a custom key begins with a reverse domain name; org.svta- keys are registered strings",
	},
	ruleCustomJSON: {
		"custom", Error, "CTA-5004 §3.1", "CTA-5004 §3.1",
		"a custom key in JSON has a string, a number or a boolean",
	},
	rulePrivacy: {
		"privacy", Warning, "", table1,
		"tpb is not sent by default: it helps to recognise a viewer",
	},
	ruleBoth: {
		"both", Error, "CTA-5004 §2", "CTA-5004-B §3",
		"a request has CMCD in its headers or in its query",
	},
	ruleRepeated: {
		"repeated", Error, "CTA-5004 §2.2", "CTA-5004-B §3.2",
		"a query has one CMCD argument",
	},
	ruleArgument: {
		"argument", Error, "CTA-5004 §2.2", "CTA-5004-B §3.2",
		"the argument is called CMCD, in capitals",
	},
	ruleEncoding: {
		"encoding", Error, "CTA-5004 §3.2 item 10", "CTA-5004-B §4.1 item 11",
		"the whole record is percent-encoded once in a query, and not at all elsewhere",
	},
	ruleMediaType: {
		"media_type", Error, "CTA-5004-B §3.3", "CTA-5004-B §3.3",
		"the media type of a body is application/cmcd",
	},
	ruleMethod: {
		"method", Error, "CTA-5004-B §3.3", "CTA-5004-B §3.3",
		"a body is sent by POST",
	},
	ruleLineFeed: {
		// The text says MUST NOT of a line feed at the end of a single record. All players of today
		// send one, and receivers take it: an error would make every body of every player a bad one.
		"line_feed", Warning, "CTA-5004-B §3.3", "CTA-5004-B §3.3",
		"records are separated by one line feed, and none is at the end",
	},
	ruleCarriageReturn: {
		"line_feed", Error, "CTA-5004-B §3.3", "CTA-5004-B §3.3",
		"records are separated by LF, not by CR LF",
	},
	ruleTooMany: {
		"too_many", Warning, "", "",
		"there are more issues, or more values, than are looked at",
	},
}

// jsonSection returns where version 1 says of JSON what rule id is, "" if that is where it says so of all.
func jsonSection(id int) string {
	switch id {
	case ruleUnknownKey, ruleCustomName, ruleCustomShould:
		return "CTA-5004 §3.1 item 1"
	case ruleOrder:
		return "CTA-5004 §3.1 item 7"
	case ruleSyntax, ruleDuplicate, ruleEmptyRecord:
		return "CTA-5004 §2.3"
	default:
		return ""
	}
}
