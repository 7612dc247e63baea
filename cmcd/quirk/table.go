package quirk

import "github.com/weir-stream/weir/cmcd"

// Where the evidence is from. "Captured" is traffic of that version in a browser, with what its media
// element said at the same time.
const (
	capturedHLS  = "captured: hls.js 1.1.5 to 1.7.4; source of 1.3 to 1.7"
	captured17   = "captured: hls.js 1.7.0, 1.7.4; source of 1.7"
	capturedDash = "captured: dash.js 5.2.0, 5.2.1; its source"
	capturedOld  = "captured: dash.js 3.2.0 to 4.0.1; its source"
	captured416  = "captured: Shaka 4.16.4, 5.0.9; source of 4.3 to 5.1"
	captured52   = "captured: Shaka 5.2.12; its source"
	capturedGET  = "captured: Shaka 4.16.0, 4.16.50, 5.0.9, 5.1.12"
	sourceVideo  = "source of videojs-cmcd 1.0"
	capturedVJS  = "captured: videojs-cmcd 1.0.9"
	capturedTHEO = "captured: cmcd-connector-web 1.5.0 of THEOplayer; its source"
	sourceMedia3 = "source of androidx/media, CmcdData.java"
)

// table is all that is known. It is a function, as nobody is to change it.
func table() Quirks {
	var (
		requests = []cmcd.Mode{cmcd.RequestMode}
		events   = []cmcd.Mode{cmcd.EventMode}
		rr       = []string{"rr"}
		ps       = []string{"ps"}
		media    = []string{"v", "av", "a"}
	)
	return Quirks{
		{
			Player: HLSJS, Key: cmcd.KeyBR, Types: []string{"a"}, Verdict: Ignore, Source: capturedHLS,
			Why: "With audio, hls.js names the bitrate of the variant that stands where the audio track stands in its own list: 218 for a track of 64 kbit/s.",
		},
		{
			Player: HLSJS, From: "1.7", Key: cmcd.KeyBR, Modes: requests, Types: []string{"m", "i"}, Verdict: Ignore, Source: captured17,
			Why: "With playlists and init segments, hls.js repeats the bitrate of the level that it switched to last.",
		},
		{
			Player: HLSJS, From: "1.7", Key: cmcd.KeyBR, Events: rr, Verdict: Ignore, Source: captured17,
			Why: "A report of a response names the level that hls.js switched to last, not the object that came, and no object type.",
		},
		{
			Player: HLSJS, Key: cmcd.KeyBS, Verdict: Corroborate, Source: capturedHLS,
			Why: "hls.js sends bs after a seek as well: one for a stall and one for a seek, with a session that had one of each.",
		},
		{
			Player: HLSJS, Key: cmcd.KeyD, Types: []string{"i"}, Verdict: IgnoreZero, Source: capturedHLS,
			Why: "hls.js tells of init segments that they last 0 ms.",
		},
		{
			Player: HLSJS, From: "1.7", Key: cmcd.KeyLB, CMCD: 2, Verdict: Round, Source: captured17,
			Why: "hls.js writes lb with decimals, such as 400.4, where the specification has integers.",
		},
		{
			Player: HLSJS, Key: cmcd.KeyMTP, Verdict: IgnoreFirst, Value: 500, Suspect: "h", Source: capturedHLS,
			Why: "hls.js starts with a default of 500 kbit/s, which is no measurement.",
		},
		{
			Player: HLSJS, From: "1.7", Key: cmcd.KeyPB, CMCD: 2, Verdict: Round, Source: captured17,
			Why: "hls.js writes pb with decimals, such as 467.63, where the specification has integers.",
		},
		{
			Player: HLSJS, From: "1.7", Key: cmcd.KeySTA, CMCD: 2, Events: ps, Token: "r", Verdict: OfSeek, Source: captured17,
			Why: "With a seek hls.js reports sta=k and at once sta=r, so that r until the next p belongs to the seek.",
		},
		{
			Player: HLSJS, From: "1.7", Key: cmcd.KeyTPB, CMCD: 2, Verdict: Round, Source: captured17,
			Why: "hls.js writes tpb with decimals, such as 966.106, where the specification has integers.",
		},

		{
			Player: DashJS, From: "5.2", Key: cmcd.KeyAB, CMCD: 2, With: []cmcd.Key{cmcd.KeyBR}, Verdict: Ignore, Source: capturedDash,
			Why: "dash.js sends ab beside br, which the specification forbids; br is the one to read.",
		},
		{
			Player: DashJS, From: "5.0", Before: "5.2", Key: cmcd.KeyBR, CMCD: 2, Verdict: Accept, Source: "captured: dash.js 5.0.3, 5.1.1; its source",
			Why: "dash.js writes single values in version 2, where the specification has lists.",
		},
		{
			Player: DashJS, Key: cmcd.KeyBS, Verdict: Corroborate, Source: "captured: dash.js 5.2.1; source of 3.1 to 5.2",
			Why: "dash.js sets bs for audio and for video after every seek: two for a stall and four for a seek, with a session that had one of each.",
		},
		{
			Player: DashJS, Before: "4.1", Key: cmcd.KeyCID, Verdict: Accept, Source: capturedOld,
			Why: "dash.js does not escape the quotes in cid.",
		},
		{
			Player: DashJS, From: "5.2", Key: cmcd.KeyDFA, CMCD: 2, Modes: requests, Types: media, Verdict: Absent, Source: capturedDash,
			Why: "dash.js calls its dropped frames df, a name of the drafts, which its encoder drops.",
		},
		{
			Player: DashJS, From: "5.2", Key: cmcd.KeyEC, CMCD: 2, Verdict: IgnoreRepeats, Source: capturedDash + " (its issue 5111)",
			Why: "dash.js repeats the last error code with every later report.",
		},
		{
			Player: DashJS, From: "5.2", Key: cmcd.KeyMSD, CMCD: 2, Verdict: Ignore, Suspect: "d", Source: capturedDash,
			Why: "dash.js sends as media start delay the time from the start to its next record, 1 to 6 ms.",
		},
		{
			Player: DashJS, Before: "4.1", Key: cmcd.KeyNOR, Verdict: Accept, Source: capturedOld,
			Why: "dash.js writes nor as an absolute path that is not encoded.",
		},
		{
			Player: DashJS, Before: "4.1", Key: cmcd.KeyOT, Verdict: Accept, Source: capturedOld,
			Why: "dash.js puts tokens in quotes and a comma at the end of the record.",
		},
		{
			Player: DashJS, From: "5.2", Key: cmcd.KeySTA, CMCD: 2, Token: "w", Verdict: OfSeek, Source: capturedDash,
			Why: "dash.js says sta=w, which no list of tokens explains, for the wait before the first picture and after a seek.",
		},
		{
			Player: DashJS, From: "5.2", Key: cmcd.KeyTAB, CMCD: 2, With: []cmcd.Key{cmcd.KeyTB}, Verdict: Ignore, Source: capturedDash,
			Why: "dash.js sends tab beside tb, which the specification forbids; tb is the one to read.",
		},
		{
			Player: DashJS, From: "5.2", Key: cmcd.KeyTPB, CMCD: 2, Types: []string{"i", "m"}, Verdict: Ignore, Source: capturedDash,
			Why: "dash.js sends tpb with init segments, where it means nothing.",
		},
		{
			Player: DashJS, From: "5.2", Key: cmcd.KeyTTFB, CMCD: 2, Events: rr, Verdict: IgnoreImplausible, Source: capturedDash,
			Why: "dash.js takes the start of the response from one clock and that of the request from another, so that ttfb is a Unix time.",
		},

		{
			Player: Shaka, From: "4.15", Key: cmcd.KeyBR, CMCD: 2, Verdict: Accept, Source: "captured: Shaka 5.0.9, 5.2.12; its source",
			Why: "Shaka writes single values in version 2, where the specification has lists.",
		},
		{
			Player: Shaka, Before: "5.2", Key: cmcd.KeyBS, Verdict: Corroborate, Source: captured416,
			Why: "Shaka sends bs after a seek as well: one for a stall and one for a seek, with a session that had one of each.",
		},
		{
			Player: Shaka, From: "5.2", Key: cmcd.KeyBS, Modes: requests, Types: media, Verdict: Absent, Source: captured52,
			Why: "Shaka says nothing of starvation since 5.2; its rebuffers can only be seen from outside.",
		},
		{
			Player: Shaka, Key: cmcd.KeyD, Types: []string{"i"}, Verdict: IgnoreZero, Source: captured416,
			Why: "Shaka tells of init segments that they last 0 ms.",
		},
		{
			Player: Shaka, From: "4.16", Before: "5.2", Key: cmcd.KeyE, CMCD: 2, Modes: events, Verdict: Accept, Source: capturedGET,
			Why: "Shaka puts e and sta in quotes, as common-media-library 0.12 does, and sends its events by GET.",
		},
		{
			Player: Shaka, From: "5.2", Key: cmcd.KeyEC, CMCD: 2, Events: []string{"e"}, Verdict: Absent, Source: captured52,
			Why: "Shaka reports errors without a code.",
		},
		{
			Player: Shaka, Before: "5.2", Key: cmcd.KeyMTP, Modes: requests, Verdict: IgnoreFirst, Source: captured416,
			Why: "Shaka starts with what the browser thinks of its network, or with 1000 kbit/s, which is no measurement.",
		},
		{
			Player: Shaka, From: "5.2", Key: cmcd.KeyMTP, Modes: requests, Types: media, Verdict: Absent, Source: captured52,
			Why: "Shaka names no measured throughput since 5.2.",
		},
		{
			Player: Shaka, From: "4.11", Before: "5.2", Key: cmcd.KeySF, Verdict: Accept, Source: "source of Shaka 4.11 to 5.1",
			Why: "Shaka says ld and lh for low latency, which are no tokens of the specification.",
		},
		{
			Player: Shaka, From: "4.16", Before: "5.2", Key: cmcd.KeySN, CMCD: 2, Verdict: Accept, Source: capturedGET,
			Why: "Shaka counts from 1, not from 0.",
		},
		{
			Player: Shaka, From: "4.16", Before: "5.2", Key: cmcd.KeySTA, CMCD: 2, Events: ps, Token: "w", Verdict: Ignore, Source: capturedGET,
			Why: "Shaka reports sta=w, which no list of tokens explains, before its first request and also while it plays on.",
		},
		{
			Player: Shaka, From: "5.2", Key: cmcd.KeySTA, CMCD: 2, Modes: events, Verdict: Absent, Source: captured52,
			Why: "The minified build of Shaka says nothing of its state, as the compiler renames the key.",
		},
		{
			Player: Shaka, From: "5.2", Key: cmcd.KeySTA, CMCD: 2, Events: ps, Token: "r", Verdict: OfSeek, Source: "captured: Shaka 5.2.12, debug build",
			Why: "The debug build of Shaka says sta=r during the start and during a seek.",
		},

		{
			Player: VideoJS, Key: cmcd.KeyBL, Modes: requests, Verdict: Absent, Source: capturedVJS,
			Why: "The plugin names no buffer length, so that neither the start nor a rebuffer can be told.",
		},
		{
			Player: VideoJS, Key: cmcd.KeyBR, Types: []string{"a", "c", "m"}, Verdict: Ignore, Source: capturedVJS + "; its source",
			Why: "The plugin names the bandwidth of the playing variant with everything.",
		},
		{
			Player: VideoJS, Key: cmcd.KeyBS, Verdict: Corroborate, Source: capturedVJS + "; its source",
			Why: "The plugin sends bs with every request while the player waits, from the first request on and after a seek.",
		},
		{
			Player: VideoJS, Key: cmcd.KeyDL, Verdict: Ignore, Source: capturedVJS + "; its source",
			Why: "The plugin divides the deadline by a thousand, so that it is in seconds.",
		},
		{
			Player: VideoJS, Key: cmcd.KeyNOR, Verdict: IgnoreImplausible, Source: capturedVJS,
			Why: "The plugin says that the next object is undefined where it knows of none.",
		},
		{
			Player: VideoJS, Key: cmcd.KeyOT, With: []cmcd.Key{cmcd.KeyD}, Verdict: Absent, Source: capturedVJS,
			Why: "The plugin names no object type with CMAF segments, so that neither bitrate nor played time can be told.",
		},
		{
			Player: VideoJS, Key: cmcd.KeyPR, Verdict: Ignore, Value: 2, Source: sourceVideo,
			Why: "The plugin says 2 for every rate but 0 and 1.",
		},

		{
			Player: THEOplayer, Key: cmcd.KeyCID, CMCD: 1, Verdict: Decode, Source: capturedTHEO,
			Why: "THEOplayer percent-encodes what stands in quotes, in a query once more and in headers too.",
		},
		{
			Player: THEOplayer, Key: cmcd.KeyD, CMCD: 1, Types: media, Verdict: Absent, Source: capturedTHEO,
			Why: "THEOplayer names no duration, so that neither bitrate nor played time can be told.",
		},
		{
			Player: THEOplayer, Key: cmcd.KeyMTP, CMCD: 1, Verdict: Round, Source: capturedTHEO,
			Why: "THEOplayer writes mtp with decimals such as 4144.421315193176, and 100 kbit/s more than it has measured.",
		},
		{
			Player: THEOplayer, Key: cmcd.KeyOT, CMCD: 1, Token: "i", Verdict: Corroborate, Source: capturedTHEO,
			Why: "THEOplayer says ot=i of manifests as well.",
		},
		{
			Player: THEOplayer, Key: cmcd.KeySF, CMCD: 1, Verdict: Accept, Source: capturedTHEO,
			Why: "THEOplayer puts tokens in quotes.",
		},

		{
			Player: Media3, Key: cmcd.KeyCID, Verdict: Accept, Source: sourceMedia3,
			Why: "Media3 does not escape the quotes in cid and sid.",
		},
		{
			Player: Media3, Key: cmcd.KeyMTP, Modes: requests, Types: media, Verdict: Absent, Source: sourceMedia3 + " (its issue 2913)",
			Why: "Media3 names no throughput where there is only one track to choose from.",
		},

		{
			Player: AVPlayer, Key: cmcd.KeySF, Verdict: Accept, Source: "other collectors' notes",
			Why: "AVPlayer says lh for low-latency HLS, which is no token of the specification.",
		},
	}
}
