// cuBLAS without a card: handles are made and freed, products compute nothing. With LT defined, cuBLASLt.
#include <stdlib.h>
#include <string.h>

#define MAKES(name) \
  int name(void **made) { return (*made = calloc(1, 64)) ? 0 : 3; }
#define FREES(name) \
  int name(void *made) { \
    free(made); \
    return 0; \
  }
#define DOES_NOTHING(name) \
  int name(void) { return 0; }

#ifdef LT
MAKES(cublasLtCreate)
FREES(cublasLtDestroy)
MAKES(cublasLtMatmulDescCreate)
FREES(cublasLtMatmulDescDestroy)
MAKES(cublasLtMatmulPreferenceCreate)
FREES(cublasLtMatmulPreferenceDestroy)
MAKES(cublasLtMatrixLayoutCreate)
FREES(cublasLtMatrixLayoutDestroy)
MAKES(cublasLtMatrixTransformDescCreate)
FREES(cublasLtMatrixTransformDescDestroy)
DOES_NOTHING(cublasLtMatmul)
DOES_NOTHING(cublasLtMatmulAlgoConfigSetAttribute)
DOES_NOTHING(cublasLtMatmulAlgoInit)
DOES_NOTHING(cublasLtMatmulDescSetAttribute)
DOES_NOTHING(cublasLtMatmulPreferenceSetAttribute)
DOES_NOTHING(cublasLtMatrixLayoutSetAttribute)
DOES_NOTHING(cublasLtMatrixTransform)

// One algorithm, which needs no workspace.
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *product, void *a, void *b, void *c, void *d, void *preference, int wanted,
                                   void *results, int *found) {
  memset(results, 0, 96);
  *found = 1;
  return 0;
}
#else
MAKES(cublasCreate_v2)
FREES(cublasDestroy_v2)
DOES_NOTHING(cublasDgeam)
DOES_NOTHING(cublasDgemmBatched)
DOES_NOTHING(cublasDgemmStridedBatched)
DOES_NOTHING(cublasDgemm_v2)
DOES_NOTHING(cublasDgetrfBatched)
DOES_NOTHING(cublasDgetriBatched)
DOES_NOTHING(cublasGemmBatchedEx)
DOES_NOTHING(cublasGemmEx)
DOES_NOTHING(cublasGemmStridedBatchedEx)
DOES_NOTHING(cublasScopy_v2)
DOES_NOTHING(cublasSetMathMode)
DOES_NOTHING(cublasSetStream_v2)
DOES_NOTHING(cublasSgeam)
DOES_NOTHING(cublasSgemmBatched)
DOES_NOTHING(cublasSgemmStridedBatched)
DOES_NOTHING(cublasSgemm_v2)
DOES_NOTHING(cublasSgetrfBatched)
DOES_NOTHING(cublasSgetriBatched)
DOES_NOTHING(cublasSscal_v2)

int cublasGetMathMode(void *handle, int *mode) {
  *mode = 0;
  return 0;
}

const char *cublasGetStatusName(int status) { return "a status of the pretended cuBLAS"; }
const char *cublasGetStatusString(int status) { return cublasGetStatusName(status); }
#endif
