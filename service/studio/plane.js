// Vectors as places in a plane: their two principal components.

const ROUNDS = 60;

/**
 * What is alike lies close together; across lies what sets the vectors apart most. They are compared by direction, as
 * their cosines are.
 * @param {ArrayLike<number>[]} vectors
 * @returns {number[][]} for each [x, y] from 0 to 1
 */
export function placesOf(vectors) {
  const rows = vectors.map((vector) => {
    const norm = Math.hypot(...vector) || 1;
    return Float64Array.from(vector, (value) => value / norm);
  });
  const mean = rows[0].map((_, d) => rows.reduce((sum, row) => sum + row[d], 0) / rows.length);
  for (const row of rows) row.forEach((value, d) => (row[d] = value - mean[d]));
  const across = component(rows);
  const along = component(rows);
  return across.map((x, i) => [x, along[i]]);
}

/** The scores of the first principal component, from 0 to 1; it is taken out of the rows (power iteration). */
function component(rows) {
  // The row that is farthest from the middle is not at a right angle to it.
  let axis = rows.reduce((one, other) => (dot(one, one) >= dot(other, other) ? one : other)).slice();
  for (let round = 0; round < ROUNDS; round++) {
    const next = new Float64Array(axis.length);
    for (const row of rows) {
      const score = dot(row, axis);
      for (let d = 0; d < next.length; d++) next[d] += score * row[d];
    }
    const norm = Math.sqrt(dot(next, next)) || 1;
    axis = next.map((value) => value / norm);
  }
  const scores = rows.map((row) => dot(row, axis));
  rows.forEach((row, i) => row.forEach((value, d) => (row[d] = value - scores[i] * axis[d])));
  const [least, most] = [Math.min(...scores), Math.max(...scores)];
  return scores.map((score) => (score - least) / (most - least || 1));
}

function dot(one, other) {
  let sum = 0;
  for (let i = 0; i < one.length; i++) sum += one[i] * other[i];
  return sum;
}
