package Trim;
sub trim {
  my ($text) = @_;
  $text =~ s/^\s+|\s+$//g;
  return $text;
}
1;

=head1 METHODS

=head2 trim

  my $t = Trim->trim($text);

Removes white space around a C<$text>.

=cut
