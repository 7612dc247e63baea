(async () => {
  'use strict';
  const { cookie, prefix, bits, age } = document.body.dataset;
  const seed = prefix.split('.')[2] + '.';

  // SHA-256 of one block, for pages without TLS, where browsers have no crypto.subtle.
  const K = [], H = [];
  for (let n = 2; K.length < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
    if (!prime) continue;
    if (H.length < 8) H.push(((Math.sqrt(n) % 1) * 2 ** 32) | 0);
    K.push(((Math.pow(n, 1 / 3) % 1) * 2 ** 32) | 0);
  }
  const w = new Int32Array(64);
  const rotate = (x, n) => (x >>> n) | (x << (32 - n));
  function firstWord(text) {
    w.fill(0);
    for (let i = 0; i < text.length; i++) w[i >> 2] |= text.charCodeAt(i) << (24 - 8 * (i & 3));
    w[text.length >> 2] |= 0x80 << (24 - 8 * (text.length & 3));
    w[15] = text.length * 8;
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3)) + (rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = H;
    for (let i = 0; i < 64; i++) {
      const t1 = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const t2 = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    return (a + H[0]) >>> 0;
  }

  const few = 2 ** (32 - bits);
  const encoder = new TextEncoder();
  const subtle = window.crypto && crypto.subtle;
  async function answer() {
    for (let from = 0; ; from += 1024) {
      if (subtle) {
        const all = [];
        for (let i = 0; i < 1024; i++) all.push(subtle.digest('SHA-256', encoder.encode(seed + (from + i))));
        const found = (await Promise.all(all)).findIndex((d) => new DataView(d).getUint32(0) < few);
        if (found >= 0) return from + found;
      } else {
        for (let i = 0; i < 1024; i++) if (firstWord(seed + (from + i)) < few) return from + i;
        await new Promise((go) => setTimeout(go));
      }
    }
  }

  document.cookie = `${cookie}=${prefix}${await answer()}; Path=/; Max-Age=${age}; SameSite=Lax` + (location.protocol === 'https:' ? '; Secure' : '');
  if (document.cookie.includes(cookie + '=')) location.reload();
  else document.getElementById('text').textContent = 'Your browser keeps no cookies, so this page cannot be shown.';
})();
