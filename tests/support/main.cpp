#define BOOST_TEST_MODULE eventcore
#include <boost/test/unit_test.hpp>
