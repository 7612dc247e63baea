import type { View } from './viewing'

/** Mood gives the badge its colour and its sign, so that it never speaks by colour alone. */
export type Mood = 'live' | 'waiting' | 'paused' | 'error'

export interface Said {
  mood: Mood
  /** One word, on the badge. */
  badge: string
  /** A sentence over the picture; empty while there is one. */
  sentence: string
}

/** say puts the state of a viewing into words. */
export function say(view: View): Said {
  const { phase, reason, due } = view.recovery
  switch (phase) {
    case 'playing':
      if (view.paused) return { mood: 'paused', badge: 'Paused', sentence: '' }
      return view.stalled ? { mood: 'waiting', badge: 'Buffering', sentence: '' } : { mood: 'live', badge: 'Live', sentence: '' }
    case 'starting':
      return { mood: 'waiting', badge: 'Starting', sentence: 'Starting the player…' }
    case 'stalled':
      return { mood: 'waiting', badge: 'Interrupted', sentence: 'The picture stands still. Waiting for the stream…' }
    case 'failed': {
      const left = Math.max(1, Math.ceil((due - view.time) / 1000))
      return { mood: 'error', badge: 'Error', sentence: `The player has stopped with an error. Trying again in ${left} s…` }
    }
    case 'looking':
      switch (reason) {
        case 'first':
          return { mood: 'waiting', badge: 'Starting', sentence: 'Looking for the stream…' }
        case 'beginning':
          return { mood: 'waiting', badge: 'Starting', sentence: 'The stream begins…' }
        case 'ended':
          return { mood: 'waiting', badge: 'Ended', sentence: 'The stream has ended. Waiting for the stream to return…' }
        case 'unreachable':
          return { mood: 'error', badge: 'No answer', sentence: 'The server does not answer. Waiting for the stream…' }
        case 'interrupted':
          return { mood: 'waiting', badge: 'Interrupted', sentence: 'The stream is interrupted. Waiting for the stream…' }
        case 'missing':
          return { mood: 'waiting', badge: 'Waiting', sentence: 'Waiting for the stream… Nobody publishes it now.' }
      }
  }
}
