// A CUDA runtime without a card. ONNX Runtime's CUDA provider loads it and does everything it does on the host: it assigns
// operators, allocates, copies and launches. Kernels compute nothing.
//
// Memory of the card is mapped twice: where its addresses point nobody may read or write, so that a host which touches it
// dies on the spot; the copies below reach it through the other mapping. Every copy has to lie inside one allocation and
// go the way it says. What is copied to the host are numbers of no meaning (see `invent`), for nothing was computed.
//
// POQ_CARD_MB      memory of the card in MiB, 1024 unless given
// POQ_CARD_FAIL_AT the allocation that fails, counted from 1, whatever is free
// POQ_CARD_COUNT   number of cards, 1 unless given
// POQ_CARD_CAPTURE 0 if no stream can be captured as a graph
// POQ_CARD_REPLAYS what is added to the numbers that come to the host after a graph was launched, 0 unless given,
// POQ_CARD_REPLAYS_FROM and from which launch on, 1 unless given
// POQ_CARD_REPORT  folder in which every process leaves PID.json as it ends
//
// Functions and structures are those of CUDA 13. It has no header of its own: structures are filled by offset.
#define _GNU_SOURCE
#include <execinfo.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, NOT_SUPPORTED = 801, CAPTURING = 900, INVALIDATED = 901 };
enum { UPLOAD = 1, DOWNLOAD = 2, WITHIN = 3, ANY = 4 };
enum { NON_BLOCKING = 1 };
enum { ALIGNMENT = 512, TABLE = 1 << 16 };

typedef struct { unsigned x, y, z; } Dim3;
typedef struct Block { size_t at, size; struct Block *next; } Block;
typedef struct Stream { unsigned flags; int busy; struct Stream *next; } Stream;
typedef struct { const void *function; const char *name; long launches; } Kernel;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint8_t *card, *behind; // the same pages, out of reach and within
static size_t total, used, peak;
static long fail_at, devices, capture, replays, replays_from;
static Block *blocks; // ascending
static Stream *streams;
static int default_busy;
static Stream *captured; // the stream that is being captured
static int replayed;     // whether a graph computed last
static Kernel kernels[TABLE]; // by the address of their function
static struct {
  long allocations, refused, uploads, downloads, copies_within, sets, waits, launches, graphs, hazards;
  size_t uploaded, downloaded;
} did;
static __thread int last_error;

static long setting(const char *name, long otherwise) {
  const char *value = getenv(name);
  return value && *value ? atol(value) : otherwise;
}

static void start(void) {
  total = (size_t)setting("POQ_CARD_MB", 1024) << 20;
  fail_at = setting("POQ_CARD_FAIL_AT", 0);
  devices = setting("POQ_CARD_COUNT", 1);
  capture = setting("POQ_CARD_CAPTURE", 1);
  replays = setting("POQ_CARD_REPLAYS", 0);
  replays_from = setting("POQ_CARD_REPLAYS_FROM", 1);
  int file = memfd_create("card", 0);
  if (file < 0 || ftruncate(file, total)) abort();
  card = mmap(NULL, total, PROT_NONE, MAP_SHARED, file, 0);
  behind = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (card == MAP_FAILED || behind == MAP_FAILED) abort();
}

static void enter(void) {
  pthread_once(&once, start);
  pthread_mutex_lock(&lock);
}

static int leave(int code) {
  pthread_mutex_unlock(&lock);
  if (code) last_error = code;
  return code;
}

static void say(const char *what) {
  void *calls[32];
  fprintf(stderr, "pretended card: %s\n", what);
  backtrace_symbols_fd(calls, backtrace(calls, 32), STDERR_FILENO);
}

static void die(const char *what) {
  say(what);
  abort();
}

static int on_card(const void *address) {
  return (const uint8_t *)address >= card && (const uint8_t *)address < card + total;
}

static uint8_t *reach(const void *address) { return behind + ((const uint8_t *)address - card); }

static void check_inside(const void *address, size_t size) {
  if (!on_card(address)) return;
  size_t at = (const uint8_t *)address - card;
  for (Block *block = blocks; block; block = block->next)
    if (at >= block->at && at + size <= block->at + block->size) return;
  die("a copy outside of what is allocated");
}

// Streams that do not wait for the default one, and it not for them, need somebody who waits in between.
static void work_on(void *stream) {
  if (captured && stream == captured) return;
  if (stream == NULL || stream == (void *)1) {
    for (Stream *other = streams; other; other = other->next)
      if (other->busy && (other->flags & NON_BLOCKING) && did.hazards++ < 3) say("the default stream works beside another");
    default_busy = 1;
  } else if (stream != (void *)2) {
    if (default_busy && (((Stream *)stream)->flags & NON_BLOCKING) && did.hazards++ < 3)
      say("a stream works beside the default one");
    ((Stream *)stream)->busy = 1;
  }
}

// Small f32 that rise and fall again: vectors of them have a direction, and logits a largest one.
static void invent(uint8_t *target, size_t size) {
  for (size_t i = 0; i < size / 4; i++) {
    uint32_t bits = 0x3c3c3c3c + (uint32_t)(i % 251) + (uint32_t)(replayed && did.graphs >= replays_from ? replays : 0);
    memcpy(target + 4 * i, &bits, sizeof bits);
  }
  memset(target + size / 4 * 4, 0, size % 4);
}

// Memory

int cudaMalloc(void **address, size_t size) {
  enter();
  size_t wanted = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, at = 0;
  Block **place = &blocks;
  while (*place && (*place)->at - at < wanted) {
    at = (*place)->at + (*place)->size;
    place = &(*place)->next;
  }
  *address = NULL;
  if (captured) return leave(CAPTURING);
  if (++did.allocations == fail_at || (!*place && total - at < wanted)) {
    did.refused++;
    return leave(OUT_OF_MEMORY);
  }
  Block *block = malloc(sizeof *block);
  *block = (Block){at, wanted, *place};
  *place = block;
  used += wanted;
  if (used > peak) peak = used;
  *address = card + at;
  return leave(SUCCESS);
}

int cudaFree(void *address) {
  if (!address) return SUCCESS;
  enter();
  size_t at = (uint8_t *)address - card;
  Block **place = &blocks;
  while (*place && (*place)->at != at) place = &(*place)->next;
  if (!*place) die("freed what is not allocated");
  Block *block = *place;
  *place = block->next;
  used -= block->size;
  madvise(behind + at, block->size, MADV_REMOVE);
  free(block);
  return leave(SUCCESS);
}

int cudaMallocFromPoolAsync(void **address, size_t size, void *pool, void *stream) { return cudaMalloc(address, size); }
int cudaFreeAsync(void *address, void *stream) { return cudaFree(address); }

int cudaMallocHost(void **address, size_t size) {
  *address = malloc(size);
  return *address ? SUCCESS : OUT_OF_MEMORY;
}

int cudaHostAlloc(void **address, size_t size, unsigned flags) { return cudaMallocHost(address, size); }

int cudaFreeHost(void *address) {
  free(address);
  return SUCCESS;
}

int cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
  enter();
  *free_bytes = total - used;
  *total_bytes = total;
  return leave(SUCCESS);
}

int cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, int kind,
                      void *stream) {
  if (!width || !height) return SUCCESS;
  enter();
  int way = on_card(to) ? (on_card(from) ? WITHIN : UPLOAD) : (on_card(from) ? DOWNLOAD : 0);
  if (kind != way && kind != ANY) die("a copy that goes another way than it says");
  if (height > 1 && (to_pitch < width || from_pitch < width)) die("a copy whose stretches overlap");
  check_inside(to, (height - 1) * to_pitch + width);
  check_inside(from, (height - 1) * from_pitch + width);
  work_on(stream);
  for (size_t row = 0; row < height; row++) {
    uint8_t *target = (uint8_t *)to + row * to_pitch;
    const uint8_t *source = (const uint8_t *)from + row * from_pitch;
    if (way == DOWNLOAD) invent(target, width);
    else memmove(on_card(target) ? reach(target) : target, on_card(source) ? reach(source) : source, width);
  }
  if (way == UPLOAD) did.uploads++, did.uploaded += width * height;
  if (way == DOWNLOAD) did.downloads++, did.downloaded += width * height;
  if (way == WITHIN) did.copies_within++;
  return leave(SUCCESS);
}

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
  return cudaMemcpy2DAsync(to, size, from, size, size, 1, kind, stream);
}

int cudaMemset2DAsync(void *address, size_t pitch, int value, size_t width, size_t height, void *stream) {
  if (!width || !height) return SUCCESS;
  enter();
  if (!on_card(address)) die("set bytes that are not the card's");
  check_inside(address, (height - 1) * pitch + width);
  work_on(stream);
  did.sets++;
  for (size_t row = 0; row < height; row++) memset(reach((uint8_t *)address + row * pitch), value, width);
  return leave(SUCCESS);
}

int cudaMemsetAsync(void *address, int value, size_t size, void *stream) {
  return cudaMemset2DAsync(address, size, value, size, 1, stream);
}

int cudaStreamSynchronize(void *stream) {
  enter();
  if (captured) return leave(CAPTURING);
  did.waits++;
  if (stream == NULL || stream == (void *)1) {
    default_busy = 0;
    for (Stream *other = streams; other; other = other->next)
      if (!(other->flags & NON_BLOCKING)) other->busy = 0;
  } else if (stream != (void *)2) {
    ((Stream *)stream)->busy = 0;
  }
  return leave(SUCCESS);
}

int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
  cudaMemcpyAsync(to, from, size, kind, NULL);
  return cudaStreamSynchronize(NULL);
}

int cudaMemset(void *address, int value, size_t size) {
  cudaMemsetAsync(address, value, size, NULL);
  return cudaStreamSynchronize(NULL);
}

int cudaMemcpyFromSymbol(void *to, const void *symbol, size_t size, size_t offset, int kind) {
  memset(to, 0, size);
  return SUCCESS;
}

int cudaPointerGetAttributes(void *attributes, const void *address) {
  enter();
  memset(attributes, 0, 88);
  if (on_card(address)) {
    *(int *)attributes = 2; // cudaMemoryTypeDevice
    memcpy((char *)attributes + 8, &address, sizeof address);
  }
  return leave(SUCCESS);
}

// Streams and events

int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
  enter();
  Stream *made = calloc(1, sizeof *made);
  made->flags = flags;
  made->next = streams;
  *stream = streams = made;
  return leave(SUCCESS);
}

int cudaStreamCreate(void **stream) { return cudaStreamCreateWithFlags(stream, 0); }

int cudaStreamDestroy(void *stream) {
  enter();
  Stream **place = &streams;
  while (*place && *place != stream) place = &(*place)->next;
  if (!*place) die("a stream that does not exist");
  *place = ((Stream *)stream)->next;
  free(stream);
  return leave(SUCCESS);
}

int cudaDeviceSynchronize(void) {
  enter();
  default_busy = 0;
  for (Stream *stream = streams; stream; stream = stream->next) stream->busy = 0;
  return leave(SUCCESS);
}

int cudaStreamWaitEvent(void *stream, void *event, unsigned flags) { return SUCCESS; }

int cudaStreamIsCapturing(void *stream, int *status) {
  *status = stream == captured && captured != NULL;
  return SUCCESS;
}

// Graphs: what a stream does meanwhile is not done, and what is launched later does nothing.

int cudaStreamBeginCapture(void *stream, int mode) {
  enter();
  captured = stream;
  return leave(SUCCESS);
}

int cudaStreamEndCapture(void *stream, void **graph) {
  enter();
  captured = NULL;
  *graph = NULL;
  if (!capture) return leave(INVALIDATED);
  *graph = calloc(1, 8);
  return leave(SUCCESS);
}

int cudaGraphInstantiate(void **executable, void *graph, unsigned long long flags) {
  *executable = calloc(1, 8);
  return SUCCESS;
}

int cudaGraphDestroy(void *graph) {
  free(graph);
  return SUCCESS;
}

int cudaGraphExecDestroy(void *executable) { return cudaGraphDestroy(executable); }

int cudaGraphLaunch(void *executable, void *stream) {
  enter();
  did.graphs++;
  work_on(stream);
  replayed = 1;
  return leave(SUCCESS);
}

int cudaEventCreateWithFlags(void **event, unsigned flags) {
  *event = calloc(1, sizeof(void *));
  return SUCCESS;
}

int cudaEventCreate(void **event) { return cudaEventCreateWithFlags(event, 0); }

int cudaEventDestroy(void *event) {
  free(event);
  return SUCCESS;
}

int cudaEventRecord(void *event, void *stream) {
  *(void **)event = stream;
  return SUCCESS;
}

int cudaEventRecordWithFlags(void *event, void *stream, unsigned flags) { return cudaEventRecord(event, stream); }
int cudaEventSynchronize(void *event) { return cudaStreamSynchronize(*(void **)event); }

int cudaEventElapsedTime(float *milliseconds, void *from, void *to) {
  *milliseconds = 1;
  return SUCCESS;
}

int cudaLaunchHostFunc(void *stream, void (*function)(void *), void *argument) {
  function(argument);
  return SUCCESS;
}

// The card: the sizes of a Hopper

int cudaGetDeviceCount(int *count) {
  pthread_once(&once, start);
  *count = devices;
  return devices ? SUCCESS : (last_error = NO_DEVICE);
}

int cudaGetDevice(int *device) {
  *device = 0;
  return SUCCESS;
}

int cudaSetDevice(int device) {
  pthread_once(&once, start);
  return device < devices ? SUCCESS : (last_error = devices ? INVALID_DEVICE : NO_DEVICE);
}

#define PUT(type, offset, value) (*(type *)((char *)properties + (offset)) = (value))

int cudaGetDeviceProperties(void *properties, int device) {
  pthread_once(&once, start);
  memset(properties, 0, 1008);
  strcpy(properties, "a card that is not there");
  PUT(size_t, 288, total);
  PUT(size_t, 296, 49152);  // shared memory of a block
  PUT(int, 304, 65536);     // registers of a block
  PUT(int, 308, 32);        // threads of a warp
  PUT(size_t, 312, 0x7fffffff);
  PUT(int, 320, 1024);      // threads of a block
  PUT(int, 324, 1024);
  PUT(int, 328, 1024);
  PUT(int, 332, 64);
  PUT(int, 336, 0x7fffffff); // blocks of a grid
  PUT(int, 340, 65535);
  PUT(int, 344, 65535);
  PUT(size_t, 352, 65536);
  PUT(int, 360, 9);         // compute capability
  PUT(int, 384, 132);       // multiprocessors
  PUT(int, 560, 1);
  PUT(int, 584, 3);
  PUT(int, 588, 1);
  PUT(int, 596, 50 << 20);  // L2
  PUT(int, 604, 2048);
  PUT(size_t, 624, 233472); // shared memory of a multiprocessor
  PUT(int, 632, 65536);
  PUT(int, 668, 1);
  PUT(size_t, 672, 232448); // shared memory of a block that asks for it
  PUT(int, 688, 32);
  PUT(int, 720, 1);
  PUT(int, 748, 1);
  return SUCCESS;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  static const int known[][2] = {{1, 1024},  {8, 49152}, {10, 32},     {12, 65536}, {16, 132},    {38, 50 << 20}, {39, 2048},
                                 {75, 9},    {76, 0},    {81, 233472}, {82, 65536}, {97, 232448}, {106, 32}};
  *value = 1;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i][0] == attribute) *value = known[i][1];
  return SUCCESS;
}

int cudaDriverGetVersion(int *version) {
  *version = 13000;
  return SUCCESS;
}

int cudaRuntimeGetVersion(int *version) { return cudaDriverGetVersion(version); }

const char *cudaGetErrorString(int code) {
  return code == OUT_OF_MEMORY ? "out of memory" : code == NO_DEVICE ? "no CUDA-capable device is detected"
       : code ? "an error of the pretended card" : "no error";
}

const char *cudaGetErrorName(int code) { return code == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : "cudaError"; }

int cudaGetLastError(void) {
  int code = last_error;
  last_error = SUCCESS;
  return code;
}

int cudaPeekAtLastError(void) { return last_error; }

// Kernels, which compute nothing and are counted

static Kernel *kernel_of(const void *function) {
  size_t place = ((uintptr_t)function >> 4) % TABLE;
  while (kernels[place].function && kernels[place].function != function) place = (place + 1) % TABLE;
  return &kernels[place];
}

static int launched(const void *function, void *stream) {
  enter();
  did.launches++;
  work_on(stream);
  replayed = 0;
  kernel_of(function)->launches++;
  return leave(SUCCESS);
}

void __cudaRegisterFunction(void **handle, const char *function, char *device, const char *name, int limit, void *thread,
                            void *block, void *block_size, void *grid, int *warp) {
  Kernel *kernel = kernel_of(function);
  kernel->function = function;
  kernel->name = name;
}

void __cudaRegisterVar(void **handle, char *variable, char *address, const char *name, int external, size_t size, int constant,
                       int global) {}
void **__cudaRegisterFatBinary(void *binary) { return calloc(1, sizeof(void *)); }
void __cudaRegisterFatBinaryEnd(void **handle) {}
void __cudaUnregisterFatBinary(void **handle) {}

int __cudaGetKernel(void **kernel, const void *function) {
  *kernel = (void *)function;
  return SUCCESS;
}

int cudaLaunchKernel(const void *function, Dim3 grid, Dim3 block, void **arguments, size_t shared, void *stream) {
  return launched(function, stream);
}

int __cudaLaunchKernel(void *kernel, Dim3 grid, Dim3 block, void **arguments, size_t shared, void *stream) {
  return launched(kernel, stream);
}

int cudaLaunchCooperativeKernel(const void *function, Dim3 grid, Dim3 block, void **arguments, size_t shared, void *stream) {
  return launched(function, stream);
}

int cudaLaunchKernelExC(const void *configuration, const void *function, void **arguments) {
  return launched(function, *(void **)((const char *)configuration + 32));
}

static __thread struct { Dim3 grid, block; size_t shared; void *stream; } pushed[8];
static __thread int depth;

unsigned __cudaPushCallConfiguration(Dim3 grid, Dim3 block, size_t shared, void *stream) {
  pushed[depth].grid = grid;
  pushed[depth].block = block;
  pushed[depth].shared = shared;
  pushed[depth].stream = stream;
  depth++;
  return 0;
}

int __cudaPopCallConfiguration(Dim3 *grid, Dim3 *block, size_t *shared, void **stream) {
  depth--;
  *grid = pushed[depth].grid;
  *block = pushed[depth].block;
  *shared = pushed[depth].shared;
  *stream = pushed[depth].stream;
  return SUCCESS;
}

int cudaFuncGetAttributes(void *attributes, const void *function) {
  memset(attributes, 0, 144);
  int sizes[] = {1024, 64, 90, 90, 0, 232448}; // threads, registers, two versions, cache, shared memory
  memcpy((char *)attributes + 24, sizes, sizeof sizes);
  return SUCCESS;
}

int cudaFuncSetAttribute(const void *function, int attribute, int value) { return SUCCESS; }
int cudaKernelSetAttributeForDevice(void *kernel, int attribute, int value, int device) { return SUCCESS; }

int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks_of_it, const void *function, int size, size_t shared,
                                                           unsigned flags) {
  *blocks_of_it = 1;
  return SUCCESS;
}

// What poq's graphs do not need

#define NOT_HERE(name) \
  int name(void) { return last_error = NOT_SUPPORTED; }
NOT_HERE(cudaLibraryGetKernel)
NOT_HERE(cudaLibraryLoadData)
NOT_HERE(cudaLibraryUnload)
NOT_HERE(cudaMemPoolCreate)
NOT_HERE(cudaMemPoolDestroy)
NOT_HERE(cudaMemPoolGetAttribute)
NOT_HERE(cudaMemPoolSetAttribute)
NOT_HERE(cudaMemPoolTrimTo)
NOT_HERE(cudaGetDriverEntryPointByVersion)

// The report

__attribute__((destructor)) static void report(void) {
  const char *folder = getenv("POQ_CARD_REPORT");
  if (!folder || !card) return;
  char path[4096];
  snprintf(path, sizeof path, "%s/%d.json", folder, getpid());
  FILE *file = fopen(path, "w");
  if (!file) return;
  fprintf(file, "{\"total\": %zu, \"peak\": %zu, \"allocations\": %ld, \"refused\": %ld,\n", total, peak, did.allocations, did.refused);
  fprintf(file, " \"uploads\": %ld, \"uploaded\": %zu, \"downloads\": %ld, \"downloaded\": %zu, \"copies_within\": %ld,\n",
          did.uploads, did.uploaded, did.downloads, did.downloaded, did.copies_within);
  fprintf(file, " \"sets\": %ld, \"waits\": %ld, \"launches\": %ld, \"graphs\": %ld, \"hazards\": %ld,\n \"kernels\": {", did.sets,
          did.waits, did.launches, did.graphs, did.hazards);
  const char *separator = "";
  for (size_t i = 0; i < TABLE; i++) {
    if (!kernels[i].launches) continue;
    fprintf(file, "%s\n  \"%s\": %ld", separator, kernels[i].name ? kernels[i].name : "?", kernels[i].launches);
    separator = ",";
  }
  fprintf(file, "}}\n");
  fclose(file);
}
