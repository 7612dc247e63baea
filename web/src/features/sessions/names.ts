/** formatName writes a streaming format as people know it. */
export function formatName(format: string | undefined): string {
  switch (format) {
    case 'hls':
    case 'h':
      return 'HLS'
    case 'dash':
    case 'd':
      return 'DASH'
    default:
      return format ?? ''
  }
}
