# GAVEL_CACHE: where script/bootstrap and script/fetch.py keep what they fetched (the same rule as there).
if(DEFINED ENV{GAVEL_CACHE})
  set(cache_default $ENV{GAVEL_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(cache_default $ENV{XDG_CACHE_HOME}/gavel)
else()
  set(cache_default $ENV{HOME}/.cache/gavel)
endif()
set(GAVEL_CACHE ${cache_default} CACHE PATH "Where script/bootstrap keeps fetched sources")
