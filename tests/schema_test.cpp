#include <eventcore/persistence/schema.hpp>

#include "schema.pb.h"

#include <boost/test/unit_test.hpp>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>

namespace {

namespace pb = google::protobuf;

void add_file(const pb::FileDescriptor& file, std::set<std::string>& seen, pb::DescriptorPool& to) {
  if (!seen.insert(file.name()).second)
    return;
  for (int i = 0; i < file.dependency_count(); ++i)
    add_file(*file.dependency(i), seen, to);
  pb::FileDescriptorProto proto;
  file.CopyTo(&proto);
  BOOST_REQUIRE(to.BuildFile(proto) != nullptr);
}

void check_options(const pb::Descriptor* plain, const pb::Descriptor* deposited) {
  BOOST_REQUIRE(plain != nullptr);
  BOOST_REQUIRE(deposited != nullptr);
  BOOST_TEST(eventcore::schema_version_of(*plain) == 1u);
  BOOST_TEST(eventcore::former_names_of(*plain).empty());
  BOOST_TEST(eventcore::schema_version_of(*deposited) == 3u);
  const std::vector<std::string> names{"schema_test.PaidIn", "schema_test.Paid"};
  BOOST_TEST(eventcore::former_names_of(*deposited) == names, boost::test_tools::per_element());
}

} // namespace

BOOST_AUTO_TEST_CASE(a_linked_in_type_says_its_version_and_former_names) {
  check_options(schema_test::Plain::descriptor(), schema_test::Deposited::descriptor());
}

BOOST_AUTO_TEST_CASE(a_type_of_a_pool_of_its_own_says_them_too) {
  pb::DescriptorPool pool;
  std::set<std::string> seen;
  add_file(*schema_test::Deposited::descriptor()->file(), seen, pool);
  check_options(pool.FindMessageTypeByName("schema_test.Plain"),
                pool.FindMessageTypeByName("schema_test.Deposited"));
}
