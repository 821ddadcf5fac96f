// cuDNN without a card: ONNX Runtime looks its functions up one by one as it needs them, and poq's graphs need a handle.
#include <stdlib.h>

int cudnnCreate(void **handle) { return (*handle = calloc(1, 64)) ? 0 : 1; }

int cudnnDestroy(void *handle) {
  free(handle);
  return 0;
}

int cudnnSetStream(void *handle, void *stream) { return 0; }
unsigned long cudnnGetVersion(void) { return 91000; }
const char *cudnnGetErrorString(int status) { return "a status of the pretended cuDNN"; }
