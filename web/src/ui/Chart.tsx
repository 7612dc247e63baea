import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { nothing, time } from './format'

export interface Series {
  label: string
  values: (number | null)[]
  format: (value: number | null) => string
  /** A custom property of the theme, such as "--chart-1". */
  color: string
  /** Lines differ by more than their colour. */
  dash?: boolean
  step?: boolean
  fill?: boolean
}

/** Span is a stretch of time that is shaded, such as a rebuffer. */
export interface Span {
  from: number
  to: number
}

export interface ChartProps {
  /** What the chart shows, for those who do not see it. */
  label: string
  /** Unix seconds, ascending. */
  times: number[]
  series: Series[]
  spans?: Span[]
  height?: number
  /** Charts with the same key share their crosshair. */
  sync?: string
  /** Quantities that differ by orders of magnitude. */
  log?: boolean
  /** No axes, no legend, no crosshair: a trend beside a number. */
  spark?: boolean
  range?: [number, number]
}

type Look = Pick<Series, 'label' | 'color' | 'dash' | 'step' | 'fill'>

/** Chart draws time series with uPlot and has the same numbers as a table behind it. */
export function Chart(props: ChartProps) {
  const { label, times, series, spans, height = 180, sync, log, spark, range } = props
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const scheme = useComputedColorScheme('dark')
  const latest = useRef(props)
  // uPlot formats and draws later, with what is true then.
  useEffect(() => {
    latest.current = props
  })

  // The plot is made anew when a line's look changes, not when its values do.
  const looks = JSON.stringify(series.map(({ label, color, dash, step, fill }): Look => ({ label, color, dash, step, fill })))
  useEffect(() => {
    const element = box.current
    if (!element) return
    const color = (name: string) => getComputedStyle(element).getPropertyValue(name).trim() || 'gray'
    const u = new uPlot(
      {
        width: Math.max(10, element.clientWidth),
        height,
        legend: { show: !spark, live: true },
        cursor: spark ? { show: false } : { y: false, ...(sync ? { sync: { key: sync } } : {}) },
        padding: spark ? [3, 1, 3, 1] : [10, 10, 0, 0],
        scales: {
          x: { range: (_, min, max) => latest.current.range ?? [min, max] },
          y: log
            ? { distr: 3, range: (_, min, max) => decades(min, max) }
            : { range: (_, min, max) => (spark ? tight(min, max) : [Math.min(0, min ?? 0), (max || 1) * 1.08]) },
        },
        axes: spark
          ? [{ show: false }, { show: false }]
          : [
              { stroke: color('--chart-axis'), grid: { stroke: color('--chart-grid') }, ticks: { show: false }, values: (_, ticks) => ticks.map((t) => time(t * 1000)), space: 80, size: 28 },
              {
                stroke: color('--chart-axis'),
                grid: { stroke: color('--chart-grid'), ...(log ? { filter: powers } : {}) },
                ...(log ? { filter: powers } : {}),
                ticks: { show: false },
                size: 84,
                // A tick that is filtered out comes as null.
                values: (_, ticks: (number | null)[]) => ticks.map((t) => (t === null ? '' : (latest.current.series[0]?.format(t) ?? String(t)))),
              },
            ],
        series: [
          { label: 'Time', value: (_, v) => (v == null ? nothing : time(v * 1000, true)) },
          ...(JSON.parse(looks) as Look[]).map((s, i): uPlot.Series => ({
            label: s.label,
            stroke: color(s.color),
            width: spark ? 1.5 : 2,
            spanGaps: true,
            points: { show: false },
            value: (_, v) => latest.current.series[i]?.format(v) ?? nothing,
            ...(s.dash ? { dash: [6, 4] } : {}),
            ...(s.fill ? { fill: `${color(s.color)}26` } : {}),
            ...(s.step ? { paths: uPlot.paths.stepped?.({ align: 1 }) } : {}),
          })),
        ],
        hooks: {
          drawClear: [
            (u) => {
              u.ctx.save()
              u.ctx.fillStyle = color('--chart-span')
              for (const span of latest.current.spans ?? []) {
                const from = u.valToPos(span.from, 'x', true)
                const to = Math.max(from + 2, u.valToPos(span.to, 'x', true))
                const left = Math.max(from, u.bbox.left)
                u.ctx.fillRect(left, u.bbox.top, Math.min(to, u.bbox.left + u.bbox.width) - left, u.bbox.height)
              }
              u.ctx.restore()
            },
          ],
        },
      },
      dataOf(latest.current),
      element,
    )
    plot.current = u
    const observer = new ResizeObserver(() => u.setSize({ width: Math.max(10, element.clientWidth), height }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      u.destroy()
      plot.current = undefined
    }
  }, [looks, scheme, height, sync, log, spark])

  useEffect(() => {
    plot.current?.setData(dataOf({ times, series }))
    // The latest spans and range are looked up as it draws.
  }, [times, series, spans, range])

  if (spark) return <div ref={box} className="spark" role="img" aria-label={label} style={{ height }} />
  return (
    <figure className="chart">
      <div ref={box} role="img" aria-label={`${label}. The same numbers are in the table below it.`} />
      <details>
        <summary>Show as a table</summary>
        <div className="scroll">
          <table className="plain">
            <thead>
              <tr>
                <th scope="col">Time</th>
                {series.map((s) => (
                  <th scope="col" key={s.label}>
                    {s.label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {times.map((t, i) => (
                <tr key={t}>
                  <td>{time(t * 1000, true)}</td>
                  {series.map((s) => (
                    <td key={s.label}>{s.format(s.values[i] ?? null)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  )
}

/** A trend shows what changes: its scale begins at the lowest value, and a constant lies in the middle. */
function tight(min: number, max: number): [number, number] {
  if (!(max > min)) return [Math.min(0, min ?? 0), (max || 1) * 2]
  return [min - (max - min) * 0.05, max + (max - min) * 0.05]
}

/** Of the ticks of a logarithmic axis only the powers of ten are drawn. */
const powers = (_: uPlot, ticks: number[]) => ticks.map((t) => (Math.abs(Math.log10(t) - Math.round(Math.log10(t))) < 1e-9 ? t : null))

/** Whole powers of ten around the values. */
function decades(min: number, max: number): [number, number] {
  const low = Math.floor(Math.log10(Math.max(min || 1, 1)))
  const high = Math.ceil(Math.log10(Math.max(max || 10, 10)))
  return [10 ** low, 10 ** Math.max(high, low + 1)]
}

function dataOf({ times, series }: Pick<ChartProps, 'times' | 'series'>): uPlot.AlignedData {
  return [times, ...series.map((s) => s.values)]
}
