/** Pixels of an image read through strides, so that turning it costs nothing. */
export interface PixelView {
  /** RGBA, 8 bits a channel. */
  data: Uint8Array | Uint8ClampedArray;
  /** As a viewer sees it, after its orientation was applied. */
  width: number;
  height: number;
  /** Index of the top left pixel's red value. */
  offset: number;
  /** Distance in `data` to the pixel at the right, and to the one below. */
  xStride: number;
  yStride: number;
}

/** A part of the resized image. */
export interface Crop {
  left: number;
  top: number;
  width: number;
  height: number;
}

// Pillow's fixed point: 8 bits of value, 2 of headroom, the rest for the coefficient.
const precisionBits = 32 - 8 - 2;

interface Coefficients {
  /** First source position of each output position, [size]. */
  start: Int32Array;
  /** How many source positions count, [size]. */
  count: Int32Array;
  /** Fixed-point weights, [size, stride]. */
  weights: Int32Array;
  stride: number;
}

/** Keys' cubic with a = -0.5. */
function bicubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

/** Weights for the output positions `first` to `first + size` of `inputSize` shrunk to `outputSize`. */
function coefficientsFor(inputSize: number, outputSize: number, first: number, size: number): Coefficients {
  const scale = inputSize / outputSize;
  const filterScale = Math.max(scale, 1);
  const support = 2 * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const start = new Int32Array(size);
  const count = new Int32Array(size);
  const weights = new Int32Array(size * stride);
  const exact = new Float64Array(stride);
  const inverse = 1 / filterScale;
  for (let i = 0; i < size; i++) {
    const center = (first + i + 0.5) * scale;
    const from = Math.max(Math.trunc(center - support + 0.5), 0);
    const until = Math.min(Math.trunc(center + support + 0.5), inputSize);
    let total = 0;
    for (let x = from; x < until; x++) {
      const weight = bicubic((x - center + 0.5) * inverse);
      exact[x - from] = weight;
      total += weight;
    }
    start[i] = from;
    count[i] = until - from;
    for (let x = 0; x < until - from; x++) {
      const normalised = total === 0 ? exact[x]! : exact[x]! / total;
      const rounding = normalised < 0 ? -0.5 : 0.5;
      weights[i * stride + x] = Math.trunc(rounding + normalised * (1 << precisionBits));
    }
  }
  return { start, count, weights, stride };
}

function clip8(value: number): number {
  const rounded = value >> precisionBits;
  return rounded < 0 ? 0 : rounded > 255 ? 255 : rounded;
}

/**
 * Resizes with Pillow's antialiased BICUBIC, bit for bit, and returns only `crop` of the result.
 *
 * Columns first, then rows, rounded to 8 bits between (Pillow's Resample.c). Alpha is not read.
 *
 * @returns RGB, [crop.height, crop.width, 3].
 */
export function resizeBicubic(view: PixelView, width: number, height: number, crop: Crop): Uint8Array {
  const columns = coefficientsFor(view.width, width, crop.left, crop.width);
  const rows = coefficientsFor(view.height, height, crop.top, crop.height);
  const firstRow = Math.min(...rows.start);
  const lastRow = rows.start.reduce((last, row, i) => Math.max(last, row + rows.count[i]!), 0);
  const rounding = 1 << (precisionBits - 1);
  const rowLength = crop.width * 3;

  const narrow = new Uint8Array((lastRow - firstRow) * rowLength);
  for (let y = firstRow; y < lastRow; y++) {
    const rowAt = view.offset + y * view.yStride;
    let target = (y - firstRow) * rowLength;
    for (let x = 0; x < crop.width; x++) {
      let at = rowAt + columns.start[x]! * view.xStride;
      let weightAt = x * columns.stride;
      const end = weightAt + columns.count[x]!;
      let red = rounding;
      let green = rounding;
      let blue = rounding;
      for (; weightAt < end; weightAt++, at += view.xStride) {
        const weight = columns.weights[weightAt]!;
        red += view.data[at]! * weight;
        green += view.data[at + 1]! * weight;
        blue += view.data[at + 2]! * weight;
      }
      narrow[target++] = clip8(red);
      narrow[target++] = clip8(green);
      narrow[target++] = clip8(blue);
    }
  }

  const resized = new Uint8Array(crop.height * rowLength);
  for (let y = 0; y < crop.height; y++) {
    const from = (rows.start[y]! - firstRow) * rowLength;
    const weightFrom = y * rows.stride;
    for (let x = 0; x < rowLength; x++) {
      let sum = rounding;
      for (let k = 0; k < rows.count[y]!; k++) {
        sum += narrow[from + k * rowLength + x]! * rows.weights[weightFrom + k]!;
      }
      resized[y * rowLength + x] = clip8(sum);
    }
  }
  return resized;
}
