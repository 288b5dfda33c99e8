// gather_sum: the weighted sum of lexemes of each text, x_t = Σ_i (weight_i · scales[p_i]) · rows[p_i].
//
//   pieces      items: p_i, the texts of the batch one after the other
//   starts      texts + 1: where each text's items begin
//   weights     items
//   rows        pieces × dimensions int8, row-major
//   scales      pieces
//   sums        texts × dimensions, row-major
//
// One work-item computes 16 dimensions of a text: global size (texts, ⌈dimensions / 16⌉), texts > 0. Items in order,
// each a fused multiply-add. Twin: `PlainKernels.gatherSums`; equal bit for bit.

#pragma OPENCL FP_CONTRACT OFF

kernel void gather_sum(const uint dimensions, global const uint *restrict pieces, global const uint *restrict starts,
                       global const float *restrict weights, global const char *restrict rows,
                       global const float *restrict scales, global float *restrict sums) {
    const size_t text = get_global_id(0);
    const uint first = (uint)get_global_id(1) * 16;
    global float *output = sums + text * dimensions + first;
    if (first + 16 <= dimensions) {
        float16 sum = 0;
        for (uint item = starts[text]; item < starts[text + 1]; item++) {
            const uint piece = pieces[item];
            const float16 row = convert_float16(vload16(0, rows + (size_t)piece * dimensions + first));
            sum = fma((float16)(weights[item] * scales[piece]), row, sum);
        }
        vstore16(sum, 0, output);
        return;
    }
    for (uint d = 0; first + d < dimensions; d++) {
        float sum = 0;
        for (uint item = starts[text]; item < starts[text + 1]; item++) {
            const uint piece = pieces[item];
            sum = fma(weights[item] * scales[piece], (float)rows[(size_t)piece * dimensions + first + d], sum);
        }
        output[d] = sum;
    }
}
