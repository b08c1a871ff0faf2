package ort

// apiVersion is the version of the function table that is asked for: that of ONNX Runtime 1.18, and so the oldest that works. The
// table only ever grows at its end, so the positions below hold for every later one.
const (
	apiVersion    = 18
	oldestMinor   = 18
	oldestRelease = "1.18"
)

// function is a position in OrtApi, the function table of onnxruntime_c_api.h.
type function int

const (
	fnGetErrorCode          function = 1
	fnGetErrorMessage       function = 2
	fnCreateEnv             function = 3
	fnCreateSession         function = 7
	fnCreateSessionArray    function = 8
	fnRun                   function = 9
	fnCreateSessionOptions  function = 10
	fnSetLogSeverity        function = 22
	fnSetIntraOpThreads     function = 24
	fnSetInterOpThreads     function = 25
	fnCreateRunOptions      function = 39
	fnRunSetLogSeverity     function = 41
	fnRunSetTerminate       function = 46
	fnCreateTensor          function = 48
	fnGetTensorData         function = 51
	fnGetStringsLength      function = 53
	fnGetStrings            function = 54
	fnGetElementType        function = 60
	fnGetDimensionsCount    function = 61
	fnGetDimensions         function = 62
	fnGetTypeAndShape       function = 65
	fnGetValueType          function = 67
	fnGetAllocator          function = 78
	fnGetValue              function = 80
	fnGetValueCount         function = 81
	fnCreateValue           function = 82
	fnReleaseStatus         function = 93
	fnReleaseSession        function = 95
	fnReleaseValue          function = 96
	fnReleaseRunOptions     function = 97
	fnReleaseTypeAndShape   function = 99
	fnReleaseSessionOptions function = 100
	fnHasValue              function = 192
	fnResizeString          function = 252

	numFunctions = 253
)

// Constants of the C API.
const (
	logFatal = 4 // OrtLoggingLevel; what fails is told by a status, so that nothing needs to be printed

	valueTensor   = 1 // ONNXType
	valueSequence = 2
	valueOptional = 6
)
