// Matrix products for the engine of a page: y = x·Wᵀ + b, in 32 bits, with weights of 32 or 8 bits.
// kernel.js holds the compiled module; tests/views/engine compile this file again and compare.
//
//   clang --target=wasm32 -O3 -msimd128 -nostdlib -Wl,--no-entry -Wl,--import-memory -Wl,--strip-all
//     -Wl,-z,stack-size=8192 -Wl,--stack-first -Wl,--initial-memory=65536 -o kernel.wasm kernel.c

#include <wasm_simd128.h>

#define SUM(v) (wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1) + \
                wasm_f32x4_extract_lane(v, 2) + wasm_f32x4_extract_lane(v, 3))
#define FMA(a, x, w) a = wasm_f32x4_add(a, wasm_f32x4_mul(x, w))
#define ZERO wasm_f32x4_splat(0)

// Up to four rows of x at once, so that every weight that is read serves four sums.
static void some_rows(const float *x, const float *w, const float *b, float *y, int n, int in, int out) {
  const float *x0 = x, *x1 = n > 1 ? x + in : x, *x2 = n > 2 ? x + 2 * in : x, *x3 = n > 3 ? x + 3 * in : x;
  int whole = in & ~3, o = 0;
  for (; o < out; o += 2) {
    int two = o + 1 < out;
    const float *u = w + (long)o * in, *v = two ? u + in : u;
    v128_t a0 = ZERO, a1 = ZERO, a2 = ZERO, a3 = ZERO, c0 = ZERO, c1 = ZERO, c2 = ZERO, c3 = ZERO;
    for (int k = 0; k < whole; k += 4) {
      v128_t p = wasm_v128_load(u + k), q = wasm_v128_load(v + k), r;
      r = wasm_v128_load(x0 + k); FMA(a0, r, p); FMA(c0, r, q);
      r = wasm_v128_load(x1 + k); FMA(a1, r, p); FMA(c1, r, q);
      r = wasm_v128_load(x2 + k); FMA(a2, r, p); FMA(c2, r, q);
      r = wasm_v128_load(x3 + k); FMA(a3, r, p); FMA(c3, r, q);
    }
    float s[4] = {SUM(a0), SUM(a1), SUM(a2), SUM(a3)}, t[4] = {SUM(c0), SUM(c1), SUM(c2), SUM(c3)};
    for (int k = whole; k < in; k++) {
      s[0] += x0[k] * u[k]; s[1] += x1[k] * u[k]; s[2] += x2[k] * u[k]; s[3] += x3[k] * u[k];
      t[0] += x0[k] * v[k]; t[1] += x1[k] * v[k]; t[2] += x2[k] * v[k]; t[3] += x3[k] * v[k];
    }
    for (int i = 0; i < n; i++) {
      y[(long)i * out + o] = s[i] + (b ? b[o] : 0);
      if (two) y[(long)i * out + o + 1] = t[i] + (b ? b[o + 1] : 0);
    }
  }
}

// x [rows, in], w [out, in], b [out] or 0, y [rows, out].
__attribute__((export_name("linear")))
void linear(const float *x, const float *w, const float *b, float *y, int rows, int in, int out) {
  for (int r = 0; r < rows; r += 4)
    some_rows(x + (long)r * in, w, b, y + (long)r * out, rows - r < 4 ? rows - r : 4, in, out);
}

// The same with w in 8 bits and one scale for each of its rows.
__attribute__((export_name("linear8")))
void linear8(const float *x, const signed char *w, const float *scale, const float *b, float *y, int rows, int in, int out) {
  int whole = in & ~15;
  for (int r = 0; r < rows; r += 4) {
    int n = rows - r < 4 ? rows - r : 4;
    const float *x0 = x + (long)r * in, *x1 = n > 1 ? x0 + in : x0, *x2 = n > 2 ? x0 + 2 * in : x0, *x3 = n > 3 ? x0 + 3 * in : x0;
    for (int o = 0; o < out; o++) {
      const signed char *u = w + (long)o * in;
      v128_t a0 = ZERO, a1 = ZERO, a2 = ZERO, a3 = ZERO;
      for (int k = 0; k < whole; k += 16) {
        v128_t q = wasm_v128_load(u + k), low = wasm_i16x8_extend_low_i8x16(q), high = wasm_i16x8_extend_high_i8x16(q);
        v128_t f[4] = {
          wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(low)), wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(low)),
          wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(high)), wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(high))};
        for (int j = 0; j < 4; j++) {
          FMA(a0, wasm_v128_load(x0 + k + 4 * j), f[j]); FMA(a1, wasm_v128_load(x1 + k + 4 * j), f[j]);
          FMA(a2, wasm_v128_load(x2 + k + 4 * j), f[j]); FMA(a3, wasm_v128_load(x3 + k + 4 * j), f[j]);
        }
      }
      float s[4] = {SUM(a0), SUM(a1), SUM(a2), SUM(a3)};
      for (int k = whole; k < in; k++) {
        s[0] += x0[k] * u[k]; s[1] += x1[k] * u[k]; s[2] += x2[k] * u[k]; s[3] += x3[k] * u[k];
      }
      for (int i = 0; i < n; i++) y[(long)(r + i) * out + o] = s[i] * scale[o] + (b ? b[o] : 0);
    }
  }
}
