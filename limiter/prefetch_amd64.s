#include "textflag.h"

// PREFETCHW, which the assembler does not know. Processors without it take it for nothing.
#define PREFETCHW_AX     BYTE $0x0f; BYTE $0x0d; BYTE $0x08
#define PREFETCHW_AX_64  BYTE $0x0f; BYTE $0x0d; BYTE $0x48; BYTE $64
#define PREFETCHW_AX_128 BYTE $0x0f; BYTE $0x0d; BYTE $0x88; LONG $128
#define PREFETCHW_AX_192 BYTE $0x0f; BYTE $0x0d; BYTE $0x88; LONG $192

// func prefetch(p unsafe.Pointer)
TEXT ·prefetch(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHW_AX
	RET

// func prefetchRun(p unsafe.Pointer)
TEXT ·prefetchRun(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHW_AX
	PREFETCHW_AX_64
	PREFETCHW_AX_128
	PREFETCHW_AX_192
	RET
