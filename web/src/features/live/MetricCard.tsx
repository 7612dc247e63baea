import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { catalogue } from '../../api/catalogue'
import type { Live } from '../../api/client'
import { useNow } from '../../feed/FeedContext'
import { span } from '../../feed/liveStore'
import { Chart } from '../../ui/Chart'
import { Defined } from '../../ui/Defined'
import { nothing } from '../../ui/format'
import { past } from './api'

export interface Card {
  name: string
  /** The metric of the catalogue that has its past and definition; none if the feed alone knows it. */
  metric?: string
  definition: string
  of: (live: Live) => number | null
  format: (value: number | null) => string
}

export function MetricCard({ card }: { card: Card }) {
  const { live, history } = useNow()
  const { data: metrics } = useQuery(catalogue)
  const { data: before } = useQuery({ ...past(card.metric ?? ''), enabled: card.metric !== undefined })

  const { times, values } = useMemo(() => {
    const recent = history.map((l) => ({ time: Date.parse(l.time) / 1000, value: card.of(l) }))
    const first = recent[0]?.time ?? Infinity
    const points = [...(before ?? []).filter((p) => p.time < first), ...recent]
    return { times: points.map((p) => p.time), values: points.map((p) => p.value) }
  }, [history, before, card])

  const definition = (card.metric && metrics?.get(card.metric)?.definition) || card.definition
  const over = live ? ` Here: over the last ${live.window_seconds} s.` : ''
  const known = values.filter((v) => v !== null)
  const now = live ? card.format(card.of(live)) : nothing
  const end = times.at(-1) ?? 0
  const series = useMemo(
    () => [{ label: card.name, values, format: card.format, color: '--chart-1', fill: true }],
    [card, values],
  )
  const range = useMemo<[number, number]>(() => [end - span, end], [end])
  return (
    <article className="card">
      <h2>
        <Defined definition={definition + over}>{card.name}</Defined>
      </h2>
      <p className="number">{now}</p>
      {known.length > 1 ? (
        <Chart
          spark
          height={44}
          times={times}
          series={series}
          range={range}
          label={`${card.name} over five minutes: now ${now}, lowest ${card.format(Math.min(...known))}, highest ${card.format(Math.max(...known))}`}
        />
      ) : (
        <p className="spark none">no trend yet</p>
      )}
    </article>
  )
}
