# Which GPUs the kernels are compiled for: Turing to Blackwell, Orin (87) and Thor (110) among them, as nvcc knows them.
execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-code OUTPUT_VARIABLE _known)
if(NOT EDGESEG_ARCHITECTURES)
  set(EDGESEG_ARCHITECTURES)
  foreach(_architecture 75 80 86 87 89 90 100 110 120)
    if(_known MATCHES "sm_${_architecture}[ \n]")
      list(APPEND EDGESEG_ARCHITECTURES ${_architecture})
    endif()
  endforeach()
endif()
# Machine code for each, and of the newest also what the driver of a later GPU compiles.
list(TRANSFORM EDGESEG_ARCHITECTURES APPEND "-real" OUTPUT_VARIABLE EDGESEG_CODE)
list(GET EDGESEG_ARCHITECTURES -1 _newest)
list(APPEND EDGESEG_CODE "${_newest}-virtual")
