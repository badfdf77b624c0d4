/** Solves small symmetric positive definite systems in place. */

/** Overwrites `right` with the solution of `matrix * x = right`, and `matrix` (n x n, row-major) with its factor. */
export function choleskySolve(matrix: Float64Array, right: Float64Array): void {
  const n = right.length;
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let value = matrix[i * n + j]!;
      for (let k = 0; k < j; k++) value -= matrix[i * n + k]! * matrix[j * n + k]!;
      matrix[i * n + j] = i === j ? Math.sqrt(Math.max(value, 1e-300)) : value / matrix[j * n + j]!;
    }
  }
  for (let i = 0; i < n; i++) {
    let value = right[i]!;
    for (let k = 0; k < i; k++) value -= matrix[i * n + k]! * right[k]!;
    right[i] = value / matrix[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    let value = right[i]!;
    for (let k = i + 1; k < n; k++) value -= matrix[k * n + i]! * right[k]!;
    right[i] = value / matrix[i * n + i]!;
  }
}
