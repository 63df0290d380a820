package A::B;
use strict;
use constant LIMIT => 3;

=head1 NAME

Doc

=cut

use warnings;

=head2 add

Adds.

=cut

sub add {
  my ($a) = @_;
  return $a;
}

# Makes.
sub new { bless {}, shift }
package C { sub d {} }
1;
