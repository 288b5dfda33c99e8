// The kernels' text as it stands in the repository, taken in when this file is compiled.
#include "CKernelSources.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const char sources[] = {
#embed "../../kernels-cl/bid_scores.cl"
    ,
#embed "../../kernels-cl/bid_arg_max.cl"
    ,
#embed "../../kernels-cl/bid_top_k.cl"
    ,
#embed "../../kernels-cl/gate_energies.cl"
    ,
#embed "../../kernels-cl/gather_sum.cl"
    , 0};

const char *sae_kernel_sources(void) { return sources; }
