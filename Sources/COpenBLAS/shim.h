#pragma once
#include <cblas.h>

// OpenBLAS carries LAPACK, but its cblas.h does not declare it: dsyevd and dgesdd of the reference, Fortran calling
// convention.
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
             const int *lwork, int *iwork, const int *liwork, int *info);
void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u,
             const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork, int *iwork, int *info);
