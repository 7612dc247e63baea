import { cleanup } from '@testing-library/react'
import { afterEach, vi } from 'vitest'

afterEach(cleanup)

// uPlot draws on a canvas, which happy-dom has not. What a chart says in words and in its table is
// tested, the picture is looked at in a browser.
vi.mock('uplot', () => ({
  default: class {
    static paths = {}
    setData() {}
    setSize() {}
    destroy() {}
  },
}))

// happy-dom lays nothing out; a virtual list needs a height to have rows.
Object.defineProperties(HTMLElement.prototype, {
  clientHeight: { configurable: true, value: 600 },
  clientWidth: { configurable: true, value: 1200 },
})
