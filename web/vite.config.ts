import { rm } from 'node:fs/promises'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

// dist holds a committed note that Vite's own emptying would delete, so only what a build makes is
// removed before the next one.
const clean = {
  name: 'weir-clean',
  apply: 'build' as const,
  buildStart: async () => {
    for (const name of ['assets', 'index.html', 'watch.html']) {
      await rm(new URL(`dist/${name}`, import.meta.url), { recursive: true, force: true })
    }
  },
}

// The servers that `npm run dev` talks to: `weir serve` with its default addresses.
const viewers = 'http://127.0.0.1:8080'
const operators = 'http://127.0.0.1:8090'

export default defineConfig({
  plugins: [react(), clean],
  build: {
    emptyOutDir: false,
    modulePreload: { polyfill: false },
    // The players are large and come one at a time, when chosen.
    chunkSizeWarningLimit: 1500,
    rolldownOptions: {
      input: ['index.html', 'watch.html'],
      // Shaka's module loader names eval, which it never comes to in a browser.
      checks: { eval: false },
    },
  },
  server: {
    proxy: {
      '/api': { target: operators, ws: true },
      '/live': viewers,
      '/cmcd': viewers,
      '/watch/validate': viewers,
    },
  },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.{ts,tsx}', 'eslint/*.test.js'],
    setupFiles: ['src/test/setup.ts'],
    restoreMocks: true,
    unstubGlobals: true,
  },
})
