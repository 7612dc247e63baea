import { createTheme } from '@mantine/core'

/** One accent, the teal of the mark; dark enough on light ground and light enough on dark. */
export const theme = createTheme({
  primaryColor: 'cyan',
  primaryShade: { light: 9, dark: 4 },
  autoContrast: true,
  defaultRadius: 'md',
  respectReducedMotion: true,
  cursorType: 'pointer',
})
