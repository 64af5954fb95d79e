# TensorRT's headers, and its library where there is one: the plugin needs the headers alone.
#
# Looked for in this order: TENSORRT_ROOT (variable or environment: an unpacked tar, or a folder of headers), the places of
# JetPack's and NVIDIA's Debian packages and of the usual tar, EDGESEG_SHARED/tensorrt/include-10.3.
#
#   TensorRT_FOUND, TensorRT_INCLUDE_DIR, TensorRT_VERSION (10.3.0), TensorRT_LIBRARY (may be missing)
#   TensorRT::headers    an interface target

set(_root "${TENSORRT_ROOT}")
if(NOT _root)
  set(_root "$ENV{TENSORRT_ROOT}")
endif()
set(_shared "${EDGESEG_SHARED}")
if(NOT _shared)
  set(_shared "$ENV{EDGESEG_SHARED}")
endif()

if(_root)
  # Named by hand: what lies elsewhere is not what was meant.
  find_path(TensorRT_INCLUDE_DIR NvInferRuntime.h PATHS "${_root}" PATH_SUFFIXES include NO_DEFAULT_PATH)
  find_library(TensorRT_LIBRARY nvinfer PATHS "${_root}" PATH_SUFFIXES lib lib64 NO_DEFAULT_PATH)
else()
  set(_machine "${CMAKE_SYSTEM_PROCESSOR}-linux-gnu") # JetPack and Debian: /usr/include/aarch64-linux-gnu
  set(_tars /usr/local/tensorrt /usr/local/TensorRT /opt/tensorrt /usr/src/tensorrt)
  find_path(TensorRT_INCLUDE_DIR NvInferRuntime.h PATHS ${_tars} /usr/include/${_machine} PATH_SUFFIXES include)
  find_library(TensorRT_LIBRARY nvinfer PATHS ${_tars} /usr/lib/${_machine} PATH_SUFFIXES lib lib64)
  if(_shared)
    find_path(TensorRT_INCLUDE_DIR NvInferRuntime.h PATHS "${_shared}/tensorrt/include-10.3" NO_DEFAULT_PATH)
  endif()
endif()

if(EXISTS "${TensorRT_INCLUDE_DIR}/NvInferVersion.h")
  file(READ "${TensorRT_INCLUDE_DIR}/NvInferVersion.h" _text)
  set(_parts)
  foreach(_part MAJOR MINOR PATCH)
    # Up to 10: NV_TENSORRT_MAJOR 10; from 11 on that stands for TRT_MAJOR_ENTERPRISE, which has the number.
    if(_text MATCHES "#define (NV_TENSORRT_${_part}|TRT_${_part}_ENTERPRISE) ([0-9]+)")
      list(APPEND _parts ${CMAKE_MATCH_2})
    endif()
  endforeach()
  list(JOIN _parts "." TensorRT_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  TensorRT
  REQUIRED_VARS TensorRT_INCLUDE_DIR TensorRT_VERSION
  VERSION_VAR TensorRT_VERSION)
mark_as_advanced(TensorRT_INCLUDE_DIR TensorRT_LIBRARY)

if(TensorRT_FOUND AND NOT TARGET TensorRT::headers)
  add_library(TensorRT::headers INTERFACE IMPORTED)
  target_include_directories(TensorRT::headers SYSTEM INTERFACE "${TensorRT_INCLUDE_DIR}")
endif()
