/** Dense float64 linear algebra in plain JavaScript. */
export {
  block,
  copy,
  matrix,
  meanDiagonal,
  mirrorLower,
  plusDiagonal,
  select,
  stack,
  transpose,
  type Matrix,
} from './matrix.ts';
export { addProduct } from './product.ts';
export { cholesky, inverse, solve, solveLower, solveUpper } from './cholesky.ts';
export { leadingSubspace } from './subspace.ts';
export { symmetricEigen } from './eigen.ts';
