import hooks from 'eslint-plugin-react-hooks'
import tseslint from 'typescript-eslint'
import { layers } from './eslint/layers.js'

export default tseslint.config(
  // schema.ts is generated, dist and node_modules are not ours.
  { ignores: ['dist', 'node_modules', 'src/api/schema.ts'] },
  {
    files: ['src/**/*.{ts,tsx}'],
    extends: [tseslint.configs.recommendedTypeChecked, hooks.configs.flat.recommended],
    languageOptions: { parserOptions: { projectService: true } },
    plugins: { weir: { rules: { layers } } },
    rules: {
      'weir/layers': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // An attribute such as onClick may be given a function that makes a promise.
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { attributes: false } }],
    },
  },
  {
    files: ['src/**/*.test.{ts,tsx}', 'src/test/**'],
    rules: {
      // Stubs stand where the platform has asynchronous functions, and are unbound on purpose.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
)
