// gate_energies: the energy of each item of a batch of programs (algorithm.md, section 3).
//
//   −E_i = b[p_i] + q[p_i] · u_t + Σ_{o ∈ (−2, −1, 1, 2)} Σ_j d_oj · m[p_i]_j · k[p_{i+o}]_j
//
// where u_t = P x̂_t is the context of the item's text t, and neighbours outside the text count nothing.
//
//   pieces    items: p_i, the texts of the batch one after the other
//   owners    items: t, the text of the item
//   starts    texts + 1: where each text's items begin
//   biases    pieces: b
//   q         pieces × ranks int8, row-major, times q_scales[p]
//   m, k      pieces × parts int8, row-major, times m_scales[p], k_scales[p]
//   contexts  texts × ranks: u
//   offsets   4 × parts: d, in the order of o above
//   energies  items: E
//
// One work-item an item: global size items > 0. Every sum runs in the order written, each step one fused
// multiply-add. Twin: `PlainKernels.gateEnergies`, which rounds separately: tolerance 1e-5 of the sum of magnitudes.

#pragma OPENCL FP_CONTRACT OFF

kernel void gate_energies(const uint ranks, const uint parts, global const uint *restrict pieces,
                          global const uint *restrict owners, global const uint *restrict starts,
                          global const float *restrict biases, global const char *restrict q,
                          global const float *restrict q_scales, global const char *restrict m,
                          global const float *restrict m_scales, global const char *restrict k,
                          global const float *restrict k_scales, global const float *restrict contexts,
                          global const float *restrict offsets, global float *restrict energies) {
    const uint item = (uint)get_global_id(0);
    const uint piece = pieces[item], text = owners[item];
    const uint begin = starts[text], end = starts[text + 1];
    global const char *query = q + (size_t)piece * ranks;
    global const float *context = contexts + (size_t)text * ranks;
    float sum = 0;
    for (uint j = 0; j < ranks; j++) sum = fma((float)query[j], context[j], sum);
    float gate = fma(q_scales[piece], sum, biases[piece]);
    global const char *mine = m + (size_t)piece * parts;
    for (uint place = 0; place < 4; place++) {
        const int neighbour = (int)item + (place < 2 ? (int)place - 2 : (int)place - 1);
        if (neighbour < (int)begin || neighbour >= (int)end) continue;
        const uint other = pieces[neighbour];
        global const char *theirs = k + (size_t)other * parts;
        float moved = 0;
        for (uint j = 0; j < parts; j++)
            moved = fma(offsets[place * parts + j], (float)((int)mine[j] * (int)theirs[j]), moved);
        gate = fma(m_scales[piece] * k_scales[other], moved, gate);
    }
    energies[item] = -gate;
}
