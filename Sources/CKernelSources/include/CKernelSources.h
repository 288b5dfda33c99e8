#pragma once

/// The OpenCL kernels of `kernels-cl/`, all files one after the other.
const char *sae_kernel_sources(void);
