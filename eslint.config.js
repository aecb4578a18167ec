import neostandard from 'neostandard'

/** Imports run one way: service -> topics -> auth -> reply -> common. */
const forbid = (...rooms) => ({
  'no-restricted-imports': ['error', {
    patterns: rooms.map(room => ({ group: [`**/${room}/**`], message: `imports run service -> topics -> auth -> reply -> common; ${room}/ is not below this room` }))
  }]
})

export default [
  ...neostandard({ ts: true, ignores: ['**/dist/**', '.tap/**', 'node_modules/**'] }),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafePromises: [{ from: 'package', name: ['PromiseWithSubtest'], package: '@tapjs/core' }] }],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      'no-void': ['error', { allowAsStatement: true }]
    }
  },
  { files: ['examples/*/page.js'], languageOptions: { globals: { addEventListener: 'readonly', EventSource: 'readonly', location: 'readonly' } } },
  {
    files: ['plugin/**/*.ts', 'service/**/*.ts'],
    // Not wrapped yet.
    ignores: [
      'service/console/**',
      'plugin/testing/**'
    ],
    rules: { '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreRegExpLiterals: true }] }
  },
  { files: ['plugin/common/**/*.ts'], rules: forbid('reply', 'auth', 'topics', 'client', 'testing', 'service', 'test') },
  { files: ['plugin/reply/**/*.ts'], rules: forbid('auth', 'topics', 'client', 'testing', 'service', 'test') },
  { files: ['plugin/auth/**/*.ts'], rules: forbid('topics', 'client', 'testing', 'service', 'test') },
  // The client runs in browsers: nothing of the server's rooms may get into its bundle.
  { files: ['plugin/client/**/*.ts'], rules: forbid('reply', 'auth', 'topics', 'common', 'testing', 'service', 'test') },
  { files: ['plugin/topics/**/*.ts'], rules: forbid('client', 'testing', 'service', 'test') },
  { files: ['plugin/index.ts'], rules: forbid('service', 'test') },
  { files: ['service/**/*.ts'], rules: forbid('plugin', 'test') }
]
