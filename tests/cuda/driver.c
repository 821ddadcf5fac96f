// The one function of CUDA's driver that ONNX Runtime's CUDA provider is linked to; poq's graphs do not need it.
int cuTensorMapEncodeTiled(void) { return 801; }
