export function figuresTable (benchmarks: string): string
export function withFigures (readme: string, benchmarks: string): string
